"""What messaging does about events of corps and of their members."""

from collections.abc import Mapping, Set

from tieline.api.directory.v1 import directory_pb2
from tieline.api.identity.v1 import identity_pb2
from tieline.chassis.events import EventHandler, ReceivedEvent
from tieline.chassis.postgres import Connection
from tieline.chassis.streams import TOKENS_REVOKED
from tieline.messaging.conversations.rules import find_participant
from tieline.messaging.repositories.corps import CorpRepository
from tieline.messaging.repositories.join_codes import JoinCodeRepository
from tieline.messaging.repositories.push_targets import PushTargetRepository
from tieline.messaging.repositories.scheduled_messages import ScheduledMessageRepository


async def note_left(connection: Connection, received: ReceivedEvent) -> None:
    """Let members who left the corp say nothing more, and be taken out of its groups."""
    event = received.decode(directory_pb2.MemberLeft)
    await _note_departed(connection, event.corp_id, set(event.user_ids))


async def note_disabled(connection: Connection, received: ReceivedEvent) -> None:
    """Do the same for members who may not sign in any more: being enabled brings nothing back."""
    event = received.decode(directory_pb2.MemberDisabled)
    await _note_departed(connection, event.corp_id, set(event.user_ids))


async def _note_departed(connection: Connection, corp_id: str, user_ids: Set[str]) -> None:
    # Groups are left little by little, in transactions of their own.
    await CorpRepository(connection).insert_departures(corp_id, user_ids)
    await ScheduledMessageRepository(connection).cancel_all_of(corp_id, user_ids)
    await JoinCodeRepository(connection).delete_requests_of(corp_id, user_ids)


async def note_corp(connection: Connection, received: ReceivedEvent) -> None:
    """Keep what outsiders are shown of a corp, and whether it is suspended."""
    # The payloads of the three events have the same fields.
    corp = received.decode(identity_pb2.CorpUpdated).corp
    await CorpRepository(connection).note_corp(
        corp.corp_id,
        corp.verified_label,
        is_suspended=corp.state != identity_pb2.CORP_STATE_ACTIVE,
    )


async def delete_corp(connection: Connection, received: ReceivedEvent) -> None:
    """Note that a corp is gone; its rows are deleted afterwards, little by little."""
    event = received.decode(identity_pb2.CorpDeleted)
    await CorpRepository(connection).mark_deleted(event.corp_id)


async def end_sessions(connection: Connection, received: ReceivedEvent) -> None:
    """Push nothing more to devices that are signed out."""
    event = received.decode(identity_pb2.TokensRevoked)
    if not event.ends_sessions:
        return
    repository = PushTargetRepository(connection)
    if event.HasField("session_id"):
        await repository.end_session(event.corp_id, event.session_id)
    elif event.HasField("principal"):
        person = find_participant(event.principal)
        if person is not None:
            await repository.end_sessions_of(event.corp_id, person, event.kept_session_id)


CORP_HANDLERS: Mapping[str, EventHandler] = {
    "tieline.directory.v1.member_disabled": note_disabled,
    "tieline.directory.v1.member_left": note_left,
    "tieline.identity.v1.corp_deleted": delete_corp,
    "tieline.identity.v1.corp_resumed": note_corp,
    "tieline.identity.v1.corp_suspended": note_corp,
    "tieline.identity.v1.corp_updated": note_corp,
    TOKENS_REVOKED: end_sessions,
}
