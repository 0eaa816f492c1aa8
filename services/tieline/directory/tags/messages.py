"""Tags as the API shows them."""

from tieline.api.directory.v1 import directory_pb2
from tieline.chassis.fields import to_timestamp
from tieline.directory.tags.rules import Tag


def to_tag(tag: Tag) -> directory_pb2.Tag:
    """Return the tag as the API shows it."""
    return directory_pb2.Tag(
        tag_id=tag.tag_id,
        name=tag.name,
        app_id=tag.app_id,
        etag=str(tag.change_number),
        create_time=to_timestamp(tag.create_time),
    )
