"""What the other services ask the directory over NATS."""

from typing import Any

from tieline.api.directory.v1 import directory_requests_pb2
from tieline.chassis.errors import InvalidArgumentError
from tieline.chassis.fields import USER_ID_PATTERN
from tieline.chassis.postgres import Pool
from tieline.chassis.requests import RequestHandler
from tieline.directory.members.rules import member_key
from tieline.directory.repositories import members
from tieline.directory.visibility.audiences import Audiences

# As many as the largest group chat has members.
MAX_USER_IDS = 2000


def build_handlers(pool: Pool, audiences: Audiences) -> dict[str, RequestHandler[Any, Any]]:
    """Return the handlers of ``requests.directory.v1.*`` by method."""

    async def find_missing_members(
        request: directory_requests_pb2.FindMissingMembersRequest,
    ) -> directory_requests_pb2.FindMissingMembersResponse:
        # They come back as they were given.
        if len(request.user_ids) > MAX_USER_IDS:
            raise InvalidArgumentError({"user_ids": f"must be at most {MAX_USER_IDS}"})
        keys = {user_id: member_key(user_id) for user_id in request.user_ids}
        # What can't be a user id is not asked about: some of it PostgreSQL refuses as text.
        askable = [key for key in keys.values() if USER_ID_PATTERN.fullmatch(key)]
        async with pool.acquire() as connection:
            present = await members.find_present(connection, request.corp_id, askable)
        return directory_requests_pb2.FindMissingMembersResponse(
            missing_user_ids=[
                user_id for user_id in request.user_ids if keys[user_id] not in present
            ]
        )

    async def find_members_by_contact(
        request: directory_requests_pb2.FindMembersByContactRequest,
    ) -> directory_requests_pb2.FindMembersByContactResponse:
        if bool(request.mobile) == bool(request.email):
            raise InvalidArgumentError({"mobile": "must be given, or email, and not both"})
        user_ids: list[str] = []
        # What PostgreSQL refuses as text is nobody's.
        if "\0" not in f"{request.corp_id}{request.mobile}{request.email}":
            async with pool.acquire() as connection:
                user_ids = await members.find_by_contact(
                    connection, request.corp_id, mobile=request.mobile, email=request.email
                )
        return directory_requests_pb2.FindMembersByContactResponse(user_ids=user_ids)

    return {
        "check_audience": RequestHandler(
            directory_requests_pb2.CheckAudienceRequest, audiences.check
        ),
        "list_audience": RequestHandler(
            directory_requests_pb2.ListAudienceRequest, audiences.list_members
        ),
        "find_members_by_contact": RequestHandler(
            directory_requests_pb2.FindMembersByContactRequest, find_members_by_contact
        ),
        "find_missing_members": RequestHandler(
            directory_requests_pb2.FindMissingMembersRequest, find_missing_members
        ),
    }
