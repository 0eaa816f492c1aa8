"""Takes members who left their corp out of its groups, a bounded number at a time.

Every replica does; they keep out of each other's way. Whoever is back in a group since is left
there.
"""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager

from tieline.api.messaging.v1 import conversation_note_pb2, messaging_pb2
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.chassis.repeating import repeating
from tieline.messaging.conversations.log import ConversationLog, Note
from tieline.messaging.conversations.notes import (
    build_dismiss_note,
    build_participants_note,
    build_roles_note,
)
from tieline.messaging.conversations.opening import tell_members_changed
from tieline.messaging.conversations.rules import Participant, Role, member
from tieline.messaging.groups.rules import MAX_NAMED_USERS, choose_successor
from tieline.messaging.live.announcer import Announcer
from tieline.messaging.repositories.corps import CorpRepository
from tieline.messaging.repositories.groups import GroupRepository
from tieline.messaging.sending.numbering import ConversationKey

# Whoever left is refused by every service at once; their groups may show them for so long.
INTERVAL_S = 1.0

# Of one transaction: their groups' senders wait for it.
_BATCH_PEOPLE = 100
_BATCH_PLACES = 200

_LEFT_CORP = conversation_note_pb2.PARTICIPANTS_CHANGE_LEFT_CORP


@asynccontextmanager
async def taking_out(pool: Pool, announcer: Announcer) -> AsyncIterator[None]:
    """Take out those who left, now and then, within the block."""

    async def take_all() -> None:
        while await take_out(pool, announcer):
            pass

    async with repeating("the taking out of those who left", take_all, interval_s=INTERVAL_S):
        yield


async def take_out(
    pool: Pool, announcer: Announcer, *, maximum_places: int = _BATCH_PLACES
) -> bool:
    """Take some of those who left out of some of their groups; tell whether there were any."""
    async with transaction(pool) as connection:
        repository = CorpRepository(connection)
        departures = await repository.lock_departures(maximum=_BATCH_PEOPLE)
        if not departures:
            return False
        places = await repository.list_groups_of(departures, maximum=maximum_places)
        gone: dict[ConversationKey, list[Participant]] = {}
        for key, user_id in places:
            gone.setdefault(key, []).append(member(user_id))
        await _take_out_of(connection, announcer, gone)
        if len(places) < maximum_places:
            await repository.delete_departures(departures)
        return True


async def _take_out_of(
    connection: Connection,
    announcer: Announcer,
    gone: Mapping[ConversationKey, Collection[Participant]],
) -> None:
    log = ConversationLog(connection, announcer)
    counters = await log.lock(sorted(gone))
    notes: list[Note] = []
    for key, participants in gone.items():
        contents, actor = await _leave_group(connection, announcer, key, participants)
        notes += [Note(key, actor, content) for content in contents]
    await log.append(notes, counters)


async def _leave_group(
    connection: Connection,
    announcer: Announcer,
    key: ConversationKey,
    participants: Collection[Participant],
) -> tuple[list[messaging_pb2.MessageContent], Participant]:
    """Take these out of one group, whose lock is held; return what is to be told, and of whom."""
    repository = GroupRepository(connection)
    has_owner = any(
        place.role is Role.OWNER for place in await repository.list_places(key, participants)
    )
    left = await repository.delete_participants(key, participants)
    if not left:
        return [], next(iter(participants))
    await tell_members_changed(connection, announcer, key, left=left)
    contents = [
        build_participants_note(_LEFT_CORP, left[begin : begin + MAX_NAMED_USERS])
        for begin in range(0, len(left), MAX_NAMED_USERS)
    ]
    if has_owner:
        successor = choose_successor(await repository.list_all_places(key))
        if successor is None:
            if await repository.dismiss(key):
                contents.append(build_dismiss_note())
        else:
            await repository.set_role(key, successor, Role.OWNER)
            contents.append(build_roles_note({successor: Role.OWNER}))
    return contents, left[0]
