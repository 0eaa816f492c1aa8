"""Commits a batch of sends: locks, numbers, writes, and tells of it."""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass
from itertools import groupby

from tieline.api.messaging.v1 import messaging_pb2
from tieline.chassis.causes import find_kind
from tieline.chassis.errors import ServiceError
from tieline.chassis.fields import to_timestamp
from tieline.chassis.outbox import Event, build_event
from tieline.chassis.postgres import Connection
from tieline.chassis.principals import PrincipalKind
from tieline.messaging.app_messages.card_tasks import find_task_refusals
from tieline.messaging.app_messages.sends import find_rate_refusals
from tieline.messaging.compliance.sensitive_words import CLEAN, Screening, blocked_error
from tieline.messaging.live.announcer import Announcement, Announcer
from tieline.messaging.live.subjects import build_conversation_subject
from tieline.messaging.media.uses import check_uses
from tieline.messaging.messages.rules import Send, StoredMessage, build_proto, message_to_proto
from tieline.messaging.repositories.media import MediaRepository
from tieline.messaging.repositories.messages import MessageRepository
from tieline.messaging.repositories.overviews import Mention, insert_mentions
from tieline.messaging.repositories.send_look_ups import LookUp, SendLookUps
from tieline.messaging.sending.numbering import SendFacts, number_batch
from tieline.messaging.sending.references import find_refusals, list_meant

MESSAGES_SENT = "tieline.messaging.v1.messages_sent"

MAX_EVENT_MESSAGES = 200

# The largest message may come on top of it, within the 512 KiB of an event.
_MAX_EVENT_BYTES = 400 * 1024


@dataclass(frozen=True, slots=True)
class _Batch:
    """What a batch comes to, and how it is told."""

    new: Sequence[StoredMessage]
    protos: Sequence[messaging_pb2.Message]
    """The new ones, in the same order."""

    events: Sequence[Event]
    outcomes: Sequence[messaging_pb2.Message | ServiceError]
    """One for each send."""


Screen = Callable[[str, str], Screening]
"""What a corp's sensitive words say of a text; asks nobody."""


def _screen_nothing(_corp_id: str, _text: str) -> Screening:
    return CLEAN


class Sender:
    """The commit function of the batcher, and its attempt."""

    def __init__(self, announcer: Announcer, screen: Screen = _screen_nothing) -> None:
        self._announcer = announcer
        self._screen = screen

    async def commit(
        self, connection: Connection, sends: Sequence[Send]
    ) -> Sequence[messaging_pb2.Message | ServiceError]:
        """Store what is new of the batch in two statements; return one outcome for each send."""
        known = await SendLookUps(connection).lock_and_look_up(sends)
        facts = await _look_up_media(connection, sends, known.facts)
        facts = await _look_up_references(connection, sends, facts)
        facts = self._screen_all(sends, facts)
        # The last two: what is refused for something else is no message that its reader gets, and
        # has no task id.
        facts = await _look_up_rates(connection, sends, facts)
        facts = await _claim_tasks(connection, sends, facts)
        batch = _build(sends, facts, known)
        if batch.new:
            await MessageRepository(connection).insert_messages(batch.new, known.now, batch.events)
            mentions = list(_list_mentions(batch.protos, known.now))
            if mentions:
                await insert_mentions(connection, mentions)
            self._announcer.announce_after_commit(connection, build_announcements(batch.protos))
        return batch.outcomes

    async def attempt(
        self, connection: Connection, sends: Sequence[Send]
    ) -> Sequence[messaging_pb2.Message | ServiceError] | None:
        """Do what :meth:`commit` does for messages that nothing but their text is known of.

        None, with nothing stored, where one of them is more than that, and where the look-up,
        which holds no locks, is not true any more at the moment of storing. What is refused was
        refused at the moment of the look-up.
        """
        if not all(map(_is_plain, sends)):
            return None
        known = await SendLookUps(connection).look_up_new(sends)
        if known is None:
            return None
        facts = self._screen_all(sends, known.facts)
        if any(each.flagged for each in facts):
            return None
        batch = _build(sends, facts, known)
        if batch.new:
            repository = MessageRepository(connection)
            if not await repository.insert_unchanged(batch.new, known, batch.events):
                return None
            self._announcer.announce_after_commit(connection, build_announcements(batch.protos))
        return batch.outcomes

    def _screen_all(self, sends: Sequence[Send], facts: Sequence[SendFacts]) -> list[SendFacts]:
        return [self._screened(send, known) for send, known in zip(sends, facts, strict=True)]

    def _screened(self, send: Send, known: SendFacts) -> SendFacts:
        """Return the facts with what the corp's words say of the message."""
        screening = self._screen(send.corp_id, send.text)
        if screening is CLEAN:
            return known
        if screening.is_blocked:
            return known._replace(refusal=known.refusal or blocked_error())
        return known._replace(flagged=screening.flagged)


def _is_plain(send: Send) -> bool:
    """Tell whether nothing needs to be looked up, or stored, for it besides the message."""
    return (
        not send.media
        and not send.has_references
        and not send.mentions_everyone
        and not send.task_id
        and send.sender.kind != PrincipalKind.APP.value
    )


def _build(sends: Sequence[Send], facts: Sequence[SendFacts], known: LookUp) -> _Batch:
    batch = number_batch(sends, facts, known.counters, known.now)
    create_time = to_timestamp(known.now)
    protos = {id(message): build_proto(message, create_time) for message in batch.new}
    stored = list(protos.values())
    causes = _list_causes(sends, batch.outcomes, protos)
    return _Batch(
        batch.new,
        stored,
        list(build_events(stored, causes)),
        [_to_outcome(outcome, protos) for outcome in batch.outcomes],
    )


async def _look_up_media(
    connection: Connection, sends: Sequence[Send], facts: Sequence[SendFacts]
) -> Sequence[SendFacts]:
    """Return the facts with what speaks against messages that refer to media; most do not."""
    wanted = [(send.corp_id, send.sender, use.media_id) for send in sends for use in send.media]
    if not wanted:
        return facts
    readable = await MediaRepository(connection).lock_readable(wanted)
    refusals = (
        check_uses(send.media, readable.get((send.corp_id, send.sender), {})) for send in sends
    )
    return [
        known._replace(refusal=known.refusal or refusal)
        for known, refusal in zip(facts, refusals, strict=True)
    ]


async def _look_up_references(
    connection: Connection, sends: Sequence[Send], facts: Sequence[SendFacts]
) -> Sequence[SendFacts]:
    """Return the facts with what speaks against replies and mentions; most messages have none."""
    return _with_refusals(facts, await find_refusals(connection, sends))


async def _look_up_rates(
    connection: Connection, sends: Sequence[Send], facts: Sequence[SendFacts]
) -> Sequence[SendFacts]:
    """Return the facts with what is too much of an app for a member; most messages are people's."""
    return _with_refusals(facts, await find_rate_refusals(connection, sends, facts))


async def _claim_tasks(
    connection: Connection, sends: Sequence[Send], facts: Sequence[SendFacts]
) -> Sequence[SendFacts]:
    """Return the facts with what speaks against apps' cards; most messages are none."""
    return _with_refusals(facts, await find_task_refusals(connection, sends, facts))


def _with_refusals(
    facts: Sequence[SendFacts], refusals: Mapping[int, ServiceError]
) -> Sequence[SendFacts]:
    if not refusals:
        return facts
    return [
        known._replace(refusal=known.refusal or refusals.get(index))
        for index, known in enumerate(facts)
    ]


def _list_mentions(
    messages: Iterable[messaging_pb2.Message], now: dt.datetime
) -> Iterator[Mention]:
    for message in messages:
        for participant in list_meant(message.content):
            yield Mention(
                message.corp_id, message.conversation_id, message.sequence, participant, now
            )


def build_announcements(messages: Iterable[messaging_pb2.Message]) -> list[Announcement]:
    """Return what each message is told live with, whatever the number of its readers."""
    return [
        (
            build_conversation_subject(message.corp_id, message.conversation_id),
            message.SerializeToString(),
        )
        for message in messages
    ]


def build_events(
    messages: Sequence[messaging_pb2.Message], causes: Mapping[int, Context] | None = None
) -> Iterator[Event]:
    """Yield one event per corp, more where a batch is too large for one or its causes differ.

    ``causes`` has those of messages that came from several callers, by ``id``. Of each conversation
    the events are in order, since the caller holds the locks of all of them.
    """
    of = causes or {}
    # The messages of one request have one cause.
    distinct = {id(cause): cause for cause in (None, *of.values())}
    kinds = {key: find_kind(cause) for key, cause in distinct.items()}
    # Sorting is stable: within a conversation the order of the numbers stays.
    for corp_id, group in groupby(sorted(messages, key=_corp_of), _corp_of):
        for _, run in groupby(group, lambda message: kinds[id(of.get(id(message)))]):
            for part in _cut(run):
                sent = messaging_pb2.MessagesSent(messages=part)
                cause = of.get(id(part[0]))
                yield build_event(MESSAGES_SENT, corp_id, corp_id, sent, cause=cause)


def _cut(messages: Iterable[messaging_pb2.Message]) -> Iterator[list[messaging_pb2.Message]]:
    """Yield the messages in parts that an event has room for."""
    part: list[messaging_pb2.Message] = []
    size_bytes = 0
    for message in messages:
        part.append(message)
        size_bytes += message.ByteSize()
        if len(part) == MAX_EVENT_MESSAGES or size_bytes > _MAX_EVENT_BYTES:
            yield part
            part, size_bytes = [], 0
    if part:
        yield part


def _to_outcome(
    outcome: StoredMessage | ServiceError, protos: dict[int, messaging_pb2.Message]
) -> messaging_pb2.Message | ServiceError:
    if isinstance(outcome, ServiceError):
        return outcome
    return protos.get(id(outcome)) or message_to_proto(outcome)


def _list_causes(
    sends: Sequence[Send],
    outcomes: Sequence[StoredMessage | ServiceError],
    protos: Mapping[int, messaging_pb2.Message],
) -> dict[int, Context]:
    """Return whose call each new message came from, where that is known, by the proto's ``id``."""
    causes: dict[int, Context] = {}
    for send, outcome in zip(sends, outcomes, strict=True):
        proto = protos.get(id(outcome))
        if proto is not None and send.cause is not None:
            causes.setdefault(id(proto), send.cause)
    return causes


def _corp_of(message: messaging_pb2.Message) -> str:
    return message.corp_id
