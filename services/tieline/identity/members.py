"""Who is a member of a corp today: what identity asks the directory over NATS."""

from tieline.api.directory.v1 import directory_requests_pb2
from tieline.chassis.broker import Broker
from tieline.chassis.fields import USER_ID_PATTERN
from tieline.chassis.requests import ask
from tieline.identity.one_time_codes.rules import Receiver, ReceiverKind


class MemberLookup:
    """Asks the directory; UnavailableError while it does not answer."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def find_by_contact(self, corp_id: str, receiver: Receiver) -> str | None:
        """Return the member with this number or address who is neither disabled nor gone."""
        request = directory_requests_pb2.FindMembersByContactRequest(corp_id=corp_id)
        if receiver.kind is ReceiverKind.MOBILE:
            request.mobile = receiver.address
        else:
            request.email = receiver.address
        response = await ask(
            self._broker,
            "directory",
            "find_members_by_contact",
            request,
            directory_requests_pb2.FindMembersByContactResponse,
        )
        return response.user_ids[0] if response.user_ids else None

    async def is_member(self, corp_id: str, user_id: str) -> bool:
        """Tell whether the directory has such a member."""
        if not USER_ID_PATTERN.fullmatch(user_id):
            return False
        response = await ask(
            self._broker,
            "directory",
            "find_missing_members",
            directory_requests_pb2.FindMissingMembersRequest(corp_id=corp_id, user_ids=[user_id]),
            directory_requests_pb2.FindMissingMembersResponse,
        )
        return not response.missing_user_ids
