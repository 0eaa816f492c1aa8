"""What an app sends itself, one by one: to members of its visible range, so many in an hour.

Whether it may is asked before the message is handed in, and of apps alone. How many the member got
is counted under the conversation's lock, together with what jobs sent and are to send.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

from tieline.api.messaging.v1 import app_message_service_pb2, messaging_pb2
from tieline.chassis.authorization import Right, holds
from tieline.chassis.calls import current_principal
from tieline.chassis.errors import PermissionDeniedError, ServiceError
from tieline.chassis.postgres import Connection, Pool
from tieline.chassis.principals import PrincipalKind
from tieline.messaging.app_messages import rules as app_messages
from tieline.messaging.app_messages.reach import AppReach
from tieline.messaging.callers import user_not_found_error
from tieline.messaging.conversations.rules import is_conversation_id
from tieline.messaging.messages.rules import Send
from tieline.messaging.repositories.app_message_recipients import (
    Reader,
    SentCounts,
    count_recent,
)
from tieline.messaging.repositories.participants import ParticipantRepository, UserKey
from tieline.messaging.sending.numbering import SendFacts

# A member who leaves the range, and an app that is disabled, are written to for so long at most.
KEPT_S = 5.0

# Conversations of all apps at this replica: some 300 bytes each.
MAX_KEPT = 20_000

# What the directory is asked about in one question.
_MAX_ASKED = app_messages.MAX_USER_IDS

Refusals = Mapping[str, ServiceError]
"""What speaks against messages into conversations, by the conversation's id."""

# An error is made for each refusal: one that is raised again and again grows by its tracebacks.
_Refusing = Callable[[], ServiceError]

_NONE: Refusals = MappingProxyType({})

_APP = PrincipalKind.APP.value


class AppSends:
    """Knows into which of their conversations apps may write."""

    def __init__(
        self, pool: Pool, reach: AppReach, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pool = pool
        self._reach = reach
        self._clock = clock
        # By corp, app and conversation: until when it holds, and what speaks against it. The one
        # asked about longest ago is the first.
        self._kept: OrderedDict[tuple[str, str, str], tuple[float, _Refusing | None]]
        self._kept = OrderedDict()

    async def check(self, user: UserKey, conversation_id: str) -> None:
        """Refuse what an app may not write there; people are not asked about."""
        if _is_app(user):
            for refusal in (await self.find_refusals(user, [conversation_id])).values():
                raise refusal

    async def find_refusals(self, user: UserKey, conversation_ids: Iterable[str]) -> Refusals:
        """Return what speaks against messages of an app into these; nothing for people.

        Of conversations that the app is not in nothing is said: sending says it.
        """
        if not _is_app(user):
            return _NONE
        asked = dict.fromkeys(filter(is_conversation_id, conversation_ids))
        if not holds(current_principal(), Right.SEND_APP_MESSAGES):
            return dict.fromkeys(asked, _right_error())
        refusals: dict[str, ServiceError] = {}
        unknown: list[str] = []
        now = self._clock()
        for conversation_id in asked:
            until, refusing = self._kept.get(_key(user, conversation_id), (0.0, None))
            if until <= now:
                unknown.append(conversation_id)
            elif refusing is not None:
                refusals[conversation_id] = refusing()
        if unknown:
            refusals.update(await self._ask(user, unknown))
        return refusals

    async def check_member(self, user: UserKey, user_id: str) -> None:
        """Refuse to open a conversation with a member whom the app does not reach."""
        corp_id, app = user
        if not await self._reach.is_enabled(corp_id, app.id, can_wait=False):
            raise app_messages.app_disabled_error()
        if await self._find_unreached(user, [user_id]):
            # Whether the member is there is not told outside of the range.
            raise user_not_found_error(user_id)

    async def _ask(self, user: UserKey, conversation_ids: Sequence[str]) -> Refusals:
        async with self._pool.acquire() as connection:
            found_readers = await ParticipantRepository(connection).find_app_readers(
                [_key(user, conversation_id) for conversation_id in conversation_ids]
            )
        readers = {place[2]: user_id for place, user_id in found_readers.items()}
        if not readers:
            return _NONE
        try:
            found = await self._find_refusing(user, readers)
        except ServiceError as error:
            # Directory or identity is away: each message is told so, and a stream goes on.
            return dict.fromkeys(readers, error)
        until = self._clock() + KEPT_S
        for conversation_id in readers:
            key = _key(user, conversation_id)
            self._kept[key] = (until, found.get(conversation_id))
            self._kept.move_to_end(key)
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return {conversation_id: refusing() for conversation_id, refusing in found.items()}

    async def _find_refusing(
        self, user: UserKey, readers: Mapping[str, str]
    ) -> Mapping[str, _Refusing]:
        corp_id, app = user
        if not await self._reach.is_enabled(corp_id, app.id, can_wait=False):
            return dict.fromkeys(readers, app_messages.app_disabled_error)
        unreached = await self._find_unreached(user, sorted(set(readers.values())))
        return {
            conversation_id: partial(app_messages.out_of_range_error, user_id)
            for conversation_id, user_id in readers.items()
            if user_id in unreached
        }

    async def _find_unreached(self, user: UserKey, user_ids: Sequence[str]) -> Collection[str]:
        corp_id, app = user
        assert len(user_ids) <= _MAX_ASKED, "no request names so many conversations"
        audience = app_message_service_pb2.AppMessageAudience(user_ids=user_ids)
        invalid = await self._reach.find_invalid(corp_id, app.id, audience)
        return frozenset(invalid.user_ids)


async def find_rate_refusals(
    connection: Connection, sends: Sequence[Send], facts: Sequence[SendFacts]
) -> dict[int, ServiceError]:
    """Return what is too much for a member, by the index of the send; most are not of apps.

    What several sends of the batch come to together counts; a repeat is no further message. What a
    job plans at the same moment may come on top.
    """
    counted = [
        (index, (send.corp_id, send.sender.id, send.conversation_id))
        for index, send in enumerate(sends)
        if send.sender.kind == _APP and not send.was_counted
    ]
    if not counted:
        return {}
    counts = await _count(connection, {place for _, place in counted})
    refusals: dict[int, ServiceError] = {}
    for index, place in counted:
        known = facts[index]
        if not known.participating or known.repeated is not None or known.refusal is not None:
            continue
        in_minute, in_hour = counts.get(place, SentCounts(0, 0))
        refusal = app_messages.find_rate_refusal(in_minute, in_hour)
        if refusal is None:
            counts[place] = SentCounts(in_minute + 1, in_hour + 1)
        else:
            refusals[index] = refusal
    return refusals


async def _count(
    connection: Connection, places: Collection[tuple[str, str, str]]
) -> dict[tuple[str, str, str], SentCounts]:
    readers = await ParticipantRepository(connection).find_app_readers(places)
    counts = await count_recent(
        connection,
        [
            Reader(corp_id, app_id, user_id, conversation_id)
            for (corp_id, app_id, conversation_id), user_id in readers.items()
        ],
    )
    return {
        (reader.corp_id, reader.app_id, reader.conversation_id): counted
        for reader, counted in counts.items()
    }


def refuse(error: ServiceError) -> "asyncio.Future[messaging_pb2.Message]":
    """Return what becomes of a message that is not handed in."""
    failed: asyncio.Future[messaging_pb2.Message] = asyncio.get_running_loop().create_future()
    failed.set_exception(error)
    return failed


def _is_app(user: UserKey) -> bool:
    return user[1].kind == _APP


def _key(user: UserKey, conversation_id: str) -> tuple[str, str, str]:
    return user[0], user[1].id, conversation_id


def _right_error() -> PermissionDeniedError:
    right = Right.SEND_APP_MESSAGES.name
    return PermissionDeniedError(
        "CALLER_NOT_ALLOWED", f"this needs the right {right}", {"right": right}
    )
