"""MemberService: translates between protobuf and the rules, nothing else."""

from collections.abc import Sequence

from tieline.api.directory.v1 import member_service_pb2, member_service_pb2_grpc
from tieline.chassis.calls import current_principal
from tieline.chassis.errors import InvalidArgumentError
from tieline.chassis.fields import check_user_id, raise_violations
from tieline.chassis.grpc_context import Context
from tieline.chassis.page_tokens import PageTokens, page_size
from tieline.chassis.postgres import Pool
from tieline.directory.corp_writes import CorpWrite, written_once
from tieline.directory.masks import check_mask
from tieline.directory.members import changes as member_changes
from tieline.directory.members.changes import MemberChange
from tieline.directory.members.fields import RULES, read_member, read_values
from tieline.directory.members.lookup import BY_EMAIL, BY_MOBILE, look_up
from tieline.directory.members.messages import to_member
from tieline.directory.members.rules import (
    EMAIL_PATTERN,
    EMAIL_RULE,
    MOBILE_PATTERN,
    MOBILE_RULE,
    member_key,
)
from tieline.directory.repositories import members
from tieline.directory.visibility.viewers import Viewers
from tieline.directory.write_answers import answer_members

# The open API's.
MAX_DELETIONS = 200

# With every field of every member at its longest, 32 KiB, requests and answers are below 4 MiB.
MAX_UPDATES = 100


class MemberServicer(member_service_pb2_grpc.MemberServiceServicer):
    """Changes the members of its callers' corps."""

    def __init__(self, pool: Pool, page_tokens: PageTokens, viewers: Viewers) -> None:
        self._pool = pool
        self._page_tokens = page_tokens
        self._viewers = viewers

    async def CreateMember(
        self, request: member_service_pb2.CreateMemberRequest, context: Context
    ) -> member_service_pb2.CreateMemberResponse:
        """Add a member, at most once per ``request_id``."""
        violations: dict[str, str] = {}
        member = read_member(request.member, "member", violations)
        raise_violations(violations)

        async def act(write: CorpWrite) -> member_service_pb2.CreateMemberResponse:
            created = await member_changes.create_member(write, member)
            [shown] = await answer_members(write, self._viewers, [created])
            return member_service_pb2.CreateMemberResponse(member=to_member(shown))

        return await written_once(
            self._pool, self._viewers, request, member_service_pb2.CreateMemberResponse, act
        )

    async def UpdateMember(
        self, request: member_service_pb2.UpdateMemberRequest, context: Context
    ) -> member_service_pb2.UpdateMemberResponse:
        """Change a member, at most once per ``request_id``."""
        violations: dict[str, str] = {}
        change = _read_change(request.update, "update", violations)
        raise_violations(violations)

        async def act(write: CorpWrite) -> member_service_pb2.UpdateMemberResponse:
            changed = await member_changes.update_members(write, [change])
            [shown] = await answer_members(write, self._viewers, changed)
            return member_service_pb2.UpdateMemberResponse(member=to_member(shown))

        return await written_once(
            self._pool, self._viewers, request, member_service_pb2.UpdateMemberResponse, act
        )

    async def BatchUpdateMembers(
        self, request: member_service_pb2.BatchUpdateMembersRequest, context: Context
    ) -> member_service_pb2.BatchUpdateMembersResponse:
        """Change members, all or none, at most once per ``request_id``."""
        if not 1 <= len(request.updates) <= MAX_UPDATES:
            raise InvalidArgumentError({"updates": f"must be 1 to {MAX_UPDATES}"})
        violations: dict[str, str] = {}
        changes = [
            _read_change(update, f"updates[{index}]", violations)
            for index, update in enumerate(request.updates)
        ]
        _check_each_once(
            [change.user_id for change in changes], "updates[{}].member.user_id", violations
        )
        raise_violations(violations)

        async def act(write: CorpWrite) -> member_service_pb2.BatchUpdateMembersResponse:
            changed = await member_changes.update_members(write, changes)
            shown = await answer_members(write, self._viewers, changed)
            return member_service_pb2.BatchUpdateMembersResponse(members=map(to_member, shown))

        return await written_once(
            self._pool, self._viewers, request, member_service_pb2.BatchUpdateMembersResponse, act
        )

    async def DeleteMember(
        self, request: member_service_pb2.DeleteMemberRequest, context: Context
    ) -> member_service_pb2.DeleteMemberResponse:
        """Have a member leave, at most once per ``request_id``."""
        user_id = _read_user_id(request.user_id)

        async def act(write: CorpWrite) -> member_service_pb2.DeleteMemberResponse:
            await member_changes.remove_members(write, [user_id], request.etag)
            return member_service_pb2.DeleteMemberResponse()

        return await written_once(
            self._pool, self._viewers, request, member_service_pb2.DeleteMemberResponse, act
        )

    async def BatchDeleteMembers(
        self, request: member_service_pb2.BatchDeleteMembersRequest, context: Context
    ) -> member_service_pb2.BatchDeleteMembersResponse:
        """Have members leave, all or none, at most once per ``request_id``."""
        if not 1 <= len(request.user_ids) <= MAX_DELETIONS:
            raise InvalidArgumentError({"user_ids": f"must be 1 to {MAX_DELETIONS}"})
        violations: dict[str, str] = {}
        for index, user_id in enumerate(request.user_ids):
            check_user_id(user_id, f"user_ids[{index}]", violations)
        user_ids = [member_key(user_id) for user_id in request.user_ids]
        _check_each_once(user_ids, "user_ids[{}]", violations)
        raise_violations(violations)

        async def act(write: CorpWrite) -> member_service_pb2.BatchDeleteMembersResponse:
            await member_changes.remove_members(write, user_ids)
            return member_service_pb2.BatchDeleteMembersResponse()

        return await written_once(
            self._pool, self._viewers, request, member_service_pb2.BatchDeleteMembersResponse, act
        )

    async def DisableMember(
        self, request: member_service_pb2.DisableMemberRequest, context: Context
    ) -> member_service_pb2.DisableMemberResponse:
        """Keep a member from signing in, at most once per ``request_id``."""
        user_id = _read_user_id(request.user_id)

        async def act(write: CorpWrite) -> member_service_pb2.DisableMemberResponse:
            member = await member_changes.disable_member(write, user_id)
            [shown] = await answer_members(write, self._viewers, [member])
            return member_service_pb2.DisableMemberResponse(member=to_member(shown))

        return await written_once(
            self._pool, self._viewers, request, member_service_pb2.DisableMemberResponse, act
        )

    async def EnableMember(
        self, request: member_service_pb2.EnableMemberRequest, context: Context
    ) -> member_service_pb2.EnableMemberResponse:
        """Let a disabled member sign in again, at most once per ``request_id``."""
        user_id = _read_user_id(request.user_id)

        async def act(write: CorpWrite) -> member_service_pb2.EnableMemberResponse:
            member = await member_changes.enable_member(write, user_id)
            [shown] = await answer_members(write, self._viewers, [member])
            return member_service_pb2.EnableMemberResponse(member=to_member(shown))

        return await written_once(
            self._pool, self._viewers, request, member_service_pb2.EnableMemberResponse, act
        )

    async def ListMemberIds(
        self, request: member_service_pb2.ListMemberIdsRequest, context: Context
    ) -> member_service_pb2.ListMemberIdsResponse:
        """List which member is in which department."""
        corp_id = current_principal().require_corp(request.corp_id)
        size = page_size(request.page_size, default=1000, maximum=10_000)
        position = self._page_tokens.decode(request.page_token, request) or ["", 0]
        async with self._viewers.reading(current_principal(), corp_id) as (connection, viewer):
            listed = await members.list_member_ids(
                connection,
                corp_id,
                viewer=viewer,
                after=(str(position[0]), int(position[1])),
                limit=size + 1,
            )
        page, next_page_token = self._page_tokens.cut(listed, size, request, lambda row: row)
        return member_service_pb2.ListMemberIdsResponse(
            member_ids=[
                member_service_pb2.MemberId(user_id=user_id, department_id=department_id)
                for user_id, department_id in page
            ],
            next_page_token=next_page_token,
        )

    async def GetMemberIdByMobile(
        self, request: member_service_pb2.GetMemberIdByMobileRequest, context: Context
    ) -> member_service_pb2.GetMemberIdByMobileResponse:
        """Find the member who has a mobile number."""
        corp_id = current_principal().require_corp(request.corp_id)
        if not MOBILE_PATTERN.fullmatch(request.mobile):
            raise InvalidArgumentError({"mobile": MOBILE_RULE})
        user_id = await look_up(self._pool, self._viewers, corp_id, BY_MOBILE, request.mobile)
        return member_service_pb2.GetMemberIdByMobileResponse(user_id=user_id)

    async def GetMemberIdByEmail(
        self, request: member_service_pb2.GetMemberIdByEmailRequest, context: Context
    ) -> member_service_pb2.GetMemberIdByEmailResponse:
        """Find the member who has a work or private e-mail address."""
        corp_id = current_principal().require_corp(request.corp_id)
        if not EMAIL_PATTERN.fullmatch(request.email):
            raise InvalidArgumentError({"email": EMAIL_RULE})
        user_id = await look_up(self._pool, self._viewers, corp_id, BY_EMAIL, request.email)
        return member_service_pb2.GetMemberIdByEmailResponse(user_id=user_id)


def _read_user_id(user_id: str) -> str:
    violations: dict[str, str] = {}
    check_user_id(user_id, "user_id", violations)
    raise_violations(violations)
    return member_key(user_id)


def _read_change(
    update: member_service_pb2.MemberUpdate, field: str, violations: dict[str, str]
) -> MemberChange:
    check_user_id(update.member.user_id, f"{field}.member.user_id", violations)
    paths = check_mask(update.update_mask, RULES, f"{field}.update_mask", violations)
    return MemberChange(
        user_id=member_key(update.member.user_id),
        values=read_values(update.member, paths, f"{field}.member", violations),
        etag=update.member.etag,
        field=f"{field}.member",
    )


def _check_each_once(user_ids: Sequence[str], field: str, violations: dict[str, str]) -> None:
    seen: set[str] = set()
    for index, user_id in enumerate(user_ids):
        if user_id in seen:
            violations[field.format(index)] = "is there already"
        seen.add(user_id)
