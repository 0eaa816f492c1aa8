"""ConversationService: between the wire and the rules of groups."""

from tieline.api.messaging.v1 import (
    conversation_note_pb2,
    conversation_service_pb2,
    conversation_service_pb2_grpc,
)
from tieline.chassis.broker import Broker
from tieline.chassis.errors import InvalidArgumentError
from tieline.chassis.grpc_context import Context
from tieline.chassis.idempotency import answered_once
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.messaging.app_messages.sends import AppSends
from tieline.messaging.callers import (
    check_members,
    get_conversation,
    require_conversation,
    require_user,
)
from tieline.messaging.compliance.sensitive_words import check_allowed
from tieline.messaging.conversations.opening import Opening
from tieline.messaging.conversations.rules import Participant, Role, participant_to_proto
from tieline.messaging.groups import join_codes
from tieline.messaging.groups import rules as groups
from tieline.messaging.groups.changes import GroupChange
from tieline.messaging.groups.joining import decide, join
from tieline.messaging.live.announcer import Announcer
from tieline.messaging.repositories import SCHEMA
from tieline.messaging.repositories.join_codes import JoinCodeRepository
from tieline.messaging.sending.batches import Screen
from tieline.messaging.sending.numbering import ConversationKey

_ROLES_FROM_PROTO = {
    conversation_note_pb2.PARTICIPANT_ROLE_ADMIN: Role.ADMIN,
    conversation_note_pb2.PARTICIPANT_ROLE_MEMBER: Role.MEMBER,
}


class ConversationServicer(conversation_service_pb2_grpc.ConversationServiceServicer):
    """Settings, people, roles and codes of groups; conversations of apps."""

    def __init__(
        self,
        pool: Pool,
        broker: Broker,
        announcer: Announcer,
        app_sends: AppSends,
        screen: Screen,
    ) -> None:
        self._pool = pool
        self._screen = screen
        self._app_sends = app_sends
        self._broker = broker
        self._announcer = announcer

    async def UpdateSettings(
        self, request: conversation_service_pb2.UpdateSettingsRequest, context: Context
    ) -> conversation_service_pb2.UpdateSettingsResponse:
        """Change what the group is like."""
        key, caller = require_conversation(request.corp_id, request.conversation_id)
        async with transaction(self._pool) as connection:
            change = await GroupChange.begin(connection, self._announcer, key, caller)
            await change.change_settings(request.settings, request.update_mask.paths)
            # Behind the checks: what is read has its length, and strangers learn of no words.
            said = groups.read_text(request.settings, request.update_mask.paths)
            check_allowed(self._screen(key[0], said))
            conversation = await get_conversation(connection, key, caller)
        return conversation_service_pb2.UpdateSettingsResponse(conversation=conversation)

    async def AddParticipants(
        self, request: conversation_service_pb2.AddParticipantsRequest, context: Context
    ) -> conversation_service_pb2.AddParticipantsResponse:
        """Add members of the corp; who is in it already stays so."""
        key, caller = require_conversation(request.corp_id, request.conversation_id)
        named = groups.check_named_users(request.user_ids)
        async with self._pool.acquire() as connection:
            # Before the directory is asked: strangers learn nothing of the corp's people.
            await get_conversation(connection, key, caller)
        await check_members(self._broker, key[0], named)
        async with transaction(self._pool) as connection:
            change = await GroupChange.begin(connection, self._announcer, key, caller)
            groups.require_adding(change.conversation)
            added = await change.add(named)
        return conversation_service_pb2.AddParticipantsResponse(
            added=map(participant_to_proto, added)
        )

    async def RemoveParticipants(
        self, request: conversation_service_pb2.RemoveParticipantsRequest, context: Context
    ) -> conversation_service_pb2.RemoveParticipantsResponse:
        """Take people out; they get nothing that is sent from now on."""
        key, caller = require_conversation(request.corp_id, request.conversation_id)
        named = groups.check_named_users(request.user_ids)
        if caller in named:
            raise InvalidArgumentError({"user_ids": "must not name the caller, who may leave"})
        async with transaction(self._pool) as connection:
            change = await GroupChange.begin(connection, self._announcer, key, caller)
            removed = await change.remove(named)
        return conversation_service_pb2.RemoveParticipantsResponse(
            removed=map(participant_to_proto, removed)
        )

    async def LeaveConversation(
        self, request: conversation_service_pb2.LeaveConversationRequest, context: Context
    ) -> conversation_service_pb2.LeaveConversationResponse:
        """Take the caller out."""
        key, caller = require_conversation(request.corp_id, request.conversation_id)
        async with transaction(self._pool) as connection:
            await (await GroupChange.begin(connection, self._announcer, key, caller)).leave()
        return conversation_service_pb2.LeaveConversationResponse()

    async def UpdateParticipantRole(
        self, request: conversation_service_pb2.UpdateParticipantRoleRequest, context: Context
    ) -> conversation_service_pb2.UpdateParticipantRoleResponse:
        """Make somebody an administrator, or no longer."""
        key, caller = require_conversation(request.corp_id, request.conversation_id)
        named = groups.check_named_user(request.user_id)
        role = _ROLES_FROM_PROTO.get(request.role)
        if role is None:
            raise InvalidArgumentError({"role": "must be ADMIN or MEMBER"})
        async with transaction(self._pool) as connection:
            change = await GroupChange.begin(connection, self._announcer, key, caller)
            await change.set_role(named, role)
        return conversation_service_pb2.UpdateParticipantRoleResponse()

    async def TransferConversation(
        self, request: conversation_service_pb2.TransferConversationRequest, context: Context
    ) -> conversation_service_pb2.TransferConversationResponse:
        """Make somebody else the owner."""
        key, caller = require_conversation(request.corp_id, request.conversation_id)
        named = groups.check_named_user(request.user_id)
        async with transaction(self._pool) as connection:
            change = await GroupChange.begin(connection, self._announcer, key, caller)
            await change.transfer(named)
        return conversation_service_pb2.TransferConversationResponse()

    async def DismissConversation(
        self, request: conversation_service_pb2.DismissConversationRequest, context: Context
    ) -> conversation_service_pb2.DismissConversationResponse:
        """End the group."""
        key, caller = require_conversation(request.corp_id, request.conversation_id)
        async with transaction(self._pool) as connection:
            await (await GroupChange.begin(connection, self._announcer, key, caller)).dismiss()
        return conversation_service_pb2.DismissConversationResponse()

    async def CreateJoinCode(
        self, request: conversation_service_pb2.CreateJoinCodeRequest, context: Context
    ) -> conversation_service_pb2.CreateJoinCodeResponse:
        """Make a code by which members come in, at most once per ``request_id``."""
        key, caller = require_conversation(request.corp_id, request.conversation_id)
        lifetime = join_codes.check_new_code(
            request.lifetime if request.HasField("lifetime") else None, request.max_uses
        )

        async def act(connection: Connection) -> conversation_service_pb2.CreateJoinCodeResponse:
            change = await GroupChange.begin(connection, self._announcer, key, caller)
            groups.require_going_on(change.conversation)
            groups.require_own_membership(change.conversation)
            groups.require_adding(change.conversation)
            repository = JoinCodeRepository(connection)
            join_codes.check_count(await repository.count_codes(key))
            code = await repository.insert_code(
                key,
                join_codes.new_code(),
                caller.id,
                lifetime=lifetime,
                max_uses=request.max_uses,
                needs_approval=request.needs_approval,
            )
            return conversation_service_pb2.CreateJoinCodeResponse(
                join_code=join_codes.code_to_proto(code)
            )

        return await answered_once(
            self._pool,
            SCHEMA,
            request,
            conversation_service_pb2.CreateJoinCodeResponse,
            act,
            corp_id=key[0],
        )

    async def ListJoinCodes(
        self, request: conversation_service_pb2.ListJoinCodesRequest, context: Context
    ) -> conversation_service_pb2.ListJoinCodesResponse:
        """List the codes in force: all to the owner and the administrators, else one's own."""
        key, caller = require_conversation(request.corp_id, request.conversation_id)
        async with self._pool.acquire() as connection:
            conversation = await get_conversation(connection, key, caller)
            sees_all = conversation.role in (
                conversation_note_pb2.PARTICIPANT_ROLE_OWNER,
                conversation_note_pb2.PARTICIPANT_ROLE_ADMIN,
            )
            codes = await JoinCodeRepository(connection).list_codes(
                key, None if sees_all else caller.id
            )
        return conversation_service_pb2.ListJoinCodesResponse(
            join_codes=map(join_codes.code_to_proto, codes)
        )

    async def DeleteJoinCode(
        self, request: conversation_service_pb2.DeleteJoinCodeRequest, context: Context
    ) -> conversation_service_pb2.DeleteJoinCodeResponse:
        """Withdraw a code."""
        key, caller = require_conversation(request.corp_id, request.conversation_id)
        async with transaction(self._pool) as connection:
            change = await GroupChange.begin(connection, self._announcer, key, caller)
            repository = JoinCodeRepository(connection)
            own = {code.code for code in await repository.list_codes(key, caller.id)}
            if request.code not in own:
                groups.require_role(change.conversation, Role.OWNER, Role.ADMIN)
            if "\0" not in request.code:
                await repository.delete_code(key, request.code)
        return conversation_service_pb2.DeleteJoinCodeResponse()

    async def JoinConversation(
        self, request: conversation_service_pb2.JoinConversationRequest, context: Context
    ) -> conversation_service_pb2.JoinConversationResponse:
        """Bring the caller into a code's group, or ask for it."""
        user = require_user(request.corp_id)
        join_codes.check_code(request.code)
        # A token outlives its member by seconds, in which nobody would be taken out any more.
        await check_members(self._broker, user[0], [user[1]])
        async with transaction(self._pool) as connection:
            conversation = await join(connection, self._announcer, user, request.code)
        return conversation_service_pb2.JoinConversationResponse(conversation=conversation)

    async def ListJoinRequests(
        self, request: conversation_service_pb2.ListJoinRequestsRequest, context: Context
    ) -> conversation_service_pb2.ListJoinRequestsResponse:
        """List who asks to come in."""
        key, caller = require_conversation(request.corp_id, request.conversation_id)
        async with transaction(self._pool) as connection:
            await self._begin_as_admin(connection, key, caller)
            asked = await JoinCodeRepository(connection).list_requests(
                key, lifetime=join_codes.REQUEST_LIFETIME
            )
        return conversation_service_pb2.ListJoinRequestsResponse(
            join_requests=[join_codes.request_to_proto(dict(each)) for each in asked]
        )

    async def DecideJoinRequest(
        self, request: conversation_service_pb2.DecideJoinRequestRequest, context: Context
    ) -> conversation_service_pb2.DecideJoinRequestResponse:
        """Let somebody who asks in, or not."""
        key, caller = require_conversation(request.corp_id, request.conversation_id)
        named = groups.check_named_user(request.user_id)
        if request.approve:
            async with transaction(self._pool) as connection:
                # Before the directory is asked: strangers learn nothing of the corp's people.
                await self._begin_as_admin(connection, key, caller)
            await check_members(self._broker, key[0], [named])
        async with transaction(self._pool) as connection:
            change = await self._begin_as_admin(connection, key, caller)
            await decide(connection, change, named, approve=request.approve)
        return conversation_service_pb2.DecideJoinRequestResponse()

    async def OpenAppConversation(
        self, request: conversation_service_pb2.OpenAppConversationRequest, context: Context
    ) -> conversation_service_pb2.OpenAppConversationResponse:
        """Give the calling app and a member their conversation."""
        corp_id, app = require_user(request.corp_id)
        reader = groups.check_named_user(request.user_id)
        await self._app_sends.check_member((corp_id, app), reader.id)
        async with transaction(self._pool) as connection:
            conversation_id = await Opening(connection, self._announcer).open_app(
                corp_id, app, reader, accepts_replies=request.accepts_replies
            )
            conversation = await get_conversation(connection, (corp_id, conversation_id), app)
        return conversation_service_pb2.OpenAppConversationResponse(conversation=conversation)

    async def _begin_as_admin(
        self, connection: Connection, key: ConversationKey, caller: Participant
    ) -> GroupChange:
        change = await GroupChange.begin(connection, self._announcer, key, caller)
        groups.require_role(change.conversation, Role.OWNER, Role.ADMIN)
        return change
