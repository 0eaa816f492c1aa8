"""Coming into a group by a code, in the caller's transaction."""

from tieline.api.messaging.v1 import messaging_pb2
from tieline.chassis.postgres import Connection
from tieline.messaging.callers import get_conversation
from tieline.messaging.conversations.rules import Participant
from tieline.messaging.groups import join_codes
from tieline.messaging.groups import rules as groups
from tieline.messaging.groups.changes import ADDED, JOINED, GroupChange
from tieline.messaging.live.announcer import Announcer
from tieline.messaging.repositories.join_codes import JoinCodeRepository
from tieline.messaging.repositories.participants import UserKey


async def join(
    connection: Connection, announcer: Announcer, user: UserKey, code: str
) -> messaging_pb2.Conversation | None:
    """Bring the user into the code's group, unless he or she is in it; return the group.

    None while the owner or an administrator must agree. Raises NotFoundError JOIN_CODE_NOT_FOUND
    and FailedPreconditionError CONVERSATION_FULL.
    """
    corp_id, caller = user
    repository = JoinCodeRepository(connection)
    found = await repository.find_code(corp_id, code)
    if found is None:
        raise join_codes.code_not_found_error()
    key = (corp_id, found[0].conversation_id)
    change = await GroupChange.begin_from_outside(connection, announcer, key, caller)
    # Again under the group's lock: the last use of a code is one person's.
    found = await repository.find_code(corp_id, code)
    if change is None or found is None or change.conversation.dismiss_time is not None:
        raise join_codes.code_not_found_error()
    if change.conversation.role is not None:
        return await get_conversation(connection, key, caller)
    join_code, now = found
    if not join_code.is_in_force(now):
        raise join_codes.code_not_found_error()
    if join_code.needs_approval:
        await repository.insert_request(
            key,
            caller.id,
            lifetime=join_codes.REQUEST_LIFETIME,
            maximum=join_codes.MAX_REQUESTS,
        )
        return None
    await change.add([caller], JOINED)
    await repository.count_use(corp_id, code)
    return await get_conversation(connection, key, caller)


async def decide(
    connection: Connection, change: GroupChange, named: Participant, *, approve: bool
) -> None:
    """Settle somebody's request to come in; raises NotFoundError JOIN_REQUEST_NOT_FOUND."""
    groups.require_going_on(change.conversation)
    was_asked = await JoinCodeRepository(connection).delete_request(
        change.key, named.id, lifetime=join_codes.REQUEST_LIFETIME
    )
    if not was_asked:
        raise join_codes.request_not_found_error(named.id)
    if approve:
        await change.add([named], ADDED)
