"""Members as the API shows them."""

from collections.abc import Sequence

from tieline.api.directory.v1 import directory_pb2, directory_service_pb2
from tieline.chassis.fields import to_timestamp
from tieline.directory.attributes.rules import to_values
from tieline.directory.members.cache import KeptMember
from tieline.directory.members.fields import GENDERS
from tieline.directory.members.rules import Member, MemberState

STATES = {
    MemberState.INVITED: directory_pb2.MEMBER_STATE_INVITED,
    MemberState.ACTIVE: directory_pb2.MEMBER_STATE_ACTIVE,
    MemberState.DISABLED: directory_pb2.MEMBER_STATE_DISABLED,
    MemberState.LEFT: directory_pb2.MEMBER_STATE_LEFT,
}

_GENDERS = {text: number for number, text in GENDERS.items()}


# Under the 4 MiB that a message may have. An ordinary member has a quarter of a KiB, and one with
# every field at its longest 32 KiB.
_MAX_BYTES = 3 * 1024 * 1024


def count_fitting(messages: Sequence[directory_pb2.Member]) -> int:
    """Return how many of the members, from the first on, one answer can hold."""
    size = 0
    for count, message in enumerate(messages):
        size += message.ByteSize()
        if size > _MAX_BYTES:
            return count
    return len(messages)


def to_member(member: Member) -> directory_pb2.Member:
    """Return the member as the API shows it."""
    message = directory_pb2.Member(
        user_id=member.user_id,
        name=member.name,
        department_id=member.department_id,
        position=member.position,
        mobile=member.mobile,
        email=member.email,
        create_time=to_timestamp(member.create_time),
        update_time=to_timestamp(member.update_time),
        alias=member.alias,
        gender=_GENDERS[member.gender],
        telephone=member.telephone,
        biz_email=member.biz_email,
        address=member.address,
        avatar_media_id=member.avatar_media_id,
        direct_leader_user_id=member.direct_leader,
        external_position=member.external_position,
        extended_attributes=to_values(member.extended_attributes),
        state=STATES[member.state],
        etag=str(member.change_number),
    )
    for department_id, order, is_leader in member.departments:
        message.departments.add(department_id=department_id, order=order, leader=is_leader)
    if member.external_profile:
        message.external_profile.MergeFromString(member.external_profile)
    if member.activate_time is not None:
        message.activate_time.CopyFrom(to_timestamp(member.activate_time))
    if member.leave_time is not None:
        message.leave_time.CopyFrom(to_timestamp(member.leave_time))
    return message


def to_kept(member: Member) -> KeptMember:
    """Return the member as it is kept: the message is made once."""
    response = directory_service_pb2.GetMemberResponse(member=to_member(member))
    return KeptMember(
        member.user_id,
        tuple(at.department_id for at in member.departments),
        member.direct_leader,
        response.SerializeToString(),
    )
