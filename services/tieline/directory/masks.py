"""Update masks: which fields of a resource a request changes. Pure."""

from collections.abc import Collection

from google.protobuf.field_mask_pb2 import FieldMask


def check_mask(
    mask: FieldMask, known: Collection[str], field: str, violations: dict[str, str]
) -> list[str]:
    """Return the paths of the mask, each once; refuse an empty mask and what can't be changed."""
    paths = list(dict.fromkeys(mask.paths))
    if not paths or not set(paths) <= set(known):
        violations[field] = f"must name at least one of {', '.join(known)}, and nothing else"
    return [path for path in paths if path in known]
