"""The subscribers of this replica: how each begins, is kept whole, and ends.

NATS may lose, repeat and reorder, and be away. A subscriber still gets everything, because numbers
have no gaps: what is missing in the middle is fetched when the next message arrives (``feeds``),
and what is missing at the end when the last numbers are compared with the database, for each user
every 15 s and after each reconnect. Whoever was taken out meanwhile ``lost_departures`` finds.
"""

import asyncio
import datetime as dt
import logging
import math
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Mapping
from time import monotonic
from types import TracebackType
from typing import NamedTuple, Self

import nats.errors

from tieline.api.messaging.v1 import messaging_service_pb2
from tieline.chassis.errors import ResourceExhaustedError, ServiceError
from tieline.chassis.postgres import Pool
from tieline.chassis.principals import PrincipalKind
from tieline.chassis.tasks import end_task
from tieline.messaging.live import subjects
from tieline.messaging.live.catching_up import Start, plan_catch_up
from tieline.messaging.live.feeds import MAX_LIVE_READS, Feeds, LiveBroker
from tieline.messaging.live.joins import LiveJoins
from tieline.messaging.live.looks import Looks
from tieline.messaging.live.lost_departures import LostDepartures
from tieline.messaging.live.people import People
from tieline.messaging.live.resuming import resume
from tieline.messaging.live.subscriber import Delivery, Subscriber, Update
from tieline.messaging.repositories.participants import ParticipantRepository, Position, UserKey
from tieline.messaging.sending.numbering import ConversationKey

HEARTBEAT_INTERVAL_S = 15.0
COMPARE_INTERVAL_S = 15.0

# An update that its client has not taken for so long ends the subscription. As long as a stopped
# client has until its pings count as not answered. The largest update, 2 MiB of a catch-up, comes
# through a line of 25 kB/s.
STALL_S = 90.0

# Of one person on this replica: more than anybody has devices, and no way to fill it alone.
MAX_SUBSCRIPTIONS = 20

# Users compared with the database in one query.
_COMPARE_USERS = 500

# A comparison does not see what is committed after it. The times that it goes by are of statements
# or transactions that may wait 10 s for a lock and then run 20 s, so it looks back further.
_COMMIT_DELAY = dt.timedelta(seconds=60)

_TICK_S = 1.0

_HEARTBEAT = Update(heartbeat=messaging_service_pb2.Heartbeat())

logger = logging.getLogger(__name__)


class _Comparison(NamedTuple):
    """When a user was last compared: by ``time.monotonic()``, and by the database's clock."""

    time: float
    database_time: dt.datetime


class LiveHub:
    """All open Subscribe calls of this replica; an async context manager."""

    def __init__(
        self,
        pool: Pool,
        broker: LiveBroker,
        *,
        heartbeat_interval_s: float = HEARTBEAT_INTERVAL_S,
        compare_interval_s: float = COMPARE_INTERVAL_S,
        stall_s: float = STALL_S,
    ) -> None:
        self._pool = pool
        self._broker = broker
        self._heartbeat_interval_s = heartbeat_interval_s
        self._compare_interval_s = compare_interval_s
        self._stall_s = stall_s
        self._reads = asyncio.Semaphore(MAX_LIVE_READS)
        self._subscribers: dict[UserKey, set[Subscriber]] = {}
        self._feeds = Feeds(pool, broker, self._reads, self._let_out)
        self._joins = LiveJoins(pool, self._feeds, self._reads, self._subscribers)
        self._looks = Looks(broker, self._feeds.reaches)
        self._people = People(pool, self._reads, self._subscribers, self._looks)
        self._lost_departures = LostDepartures(
            pool, self._feeds, self._reads, interval_s=compare_interval_s
        )
        self._subscriptions: Counter[UserKey] = Counter()
        self._comparisons: dict[UserKey, _Comparison] = {}
        self._retry_time = monotonic()
        self._reconnects = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._releases: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self._broker.subscribe(subjects.JOINS, cb=self._joins.receive)
        await self._broker.subscribe(subjects.PEOPLE, cb=self._people.receive)
        await self._feeds.flush()
        self._reconnects = self._broker.stats["reconnects"]
        self._tasks = [
            asyncio.create_task(self._joins.run(), name="live-joins"),
            asyncio.create_task(self._tick_forever(), name="live-ticks"),
        ]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # They flush, and may lose a cancellation there.
        await asyncio.gather(*map(end_task, self._tasks))
        for release in self._releases:
            release.cancel()
        await asyncio.gather(*self._releases, return_exceptions=True)
        await self._feeds.close()
        await self._people.close()

    async def subscribe(
        self,
        user: UserKey,
        held: Mapping[str, int] | None = None,
        state_revision: int = 0,
        *,
        in_batches: bool = False,
        on_leave: Callable[[], object] | None = None,
    ) -> AsyncGenerator[Delivery, None]:
        """Yield ``started``, then all that is stored in the user's conversations from then on.

        With ``held``, conversation ids to numbers, what was stored before comes first, many in one
        update if ``in_batches``, and the reading states behind ``state_revision``: what happens
        meanwhile waits in the subscriber's queue, which begins where this ends.

        Raises UnavailableError while NATS is away, FailedPreconditionError HELD_AHEAD, and
        ResourceExhaustedError TOO_MANY_SUBSCRIPTIONS at once when the person has too many open,
        SUBSCRIBER_TOO_SLOW when the updates are not taken. ``on_leave`` is called once nothing is
        delivered any more, also where the call hangs in a write and does not end.
        """
        subscriber = self._enter(user, on_leave)
        try:
            async for update in self._deliver(
                subscriber, held, state_revision, in_batches=in_batches
            ):
                subscriber.write_time = monotonic()
                yield update
                subscriber.write_time = math.inf
        finally:
            self._leave(subscriber)

    async def _deliver(
        self,
        subscriber: Subscriber,
        held: Mapping[str, int] | None,
        state_revision: int,
        *,
        in_batches: bool,
    ) -> AsyncGenerator[Delivery, None]:
        user = subscriber.user
        starts = await self._start(subscriber)
        revision = await self._people.begin(user)
        started = messaging_service_pb2.SubscriptionStarted(
            subscription_id=subscriber.id, state_revision=revision
        )
        if held is None:
            yield Update(started=started)
        else:
            joining = subscriber.postponed_joins | self._joins.list_conversation_ids(user)
            plan = plan_catch_up(held, starts, joining)
            subscriber.unsettled_ids = (joining & held.keys()) - starts.keys()
            yield Update(started=started)
            rest = resume(
                self._pool,
                self._reads,
                self._people,
                subscriber,
                plan,
                state_revision,
                in_batches=in_batches,
            )
            async for update in rest:
                yield update
        while True:
            yield await subscriber.next_update()

    def _enter(self, user: UserKey, on_leave: Callable[[], object] | None) -> Subscriber:
        person = _find_person(user)
        if self._subscriptions[person] >= MAX_SUBSCRIPTIONS:
            raise ResourceExhaustedError(
                "TOO_MANY_SUBSCRIPTIONS",
                f"at most {MAX_SUBSCRIPTIONS} subscriptions of one person may be open: end one,"
                " also of those that nobody reads",
            )
        subscriber = Subscriber(user, on_leave)
        self._subscriptions[person] += 1
        # Not with the generator: a client that never reads keeps its call in a write, also when its
        # subscriber or its token has ended, and gRPC has no way to end that from here.
        call = asyncio.current_task()
        assert call is not None, "gRPC runs handlers in tasks"
        call.add_done_callback(lambda _: self._give_back(person))
        self._subscribers.setdefault(user, set()).add(subscriber)
        return subscriber

    async def _start(self, subscriber: Subscriber) -> dict[str, Start]:
        """Begin in this order: feeds in force, then the numbers, then ``started``.

        So each message is either below the number at which its feed begins, and was stored before
        ``started``, or comes through the feed. Returns those numbers by conversation id.
        """
        positions, database_time = await self._read_positions([subscriber.user])
        gone: set[ConversationKey] = set()
        if not subscriber.has_left:
            first = _Comparison(monotonic(), database_time)
            self._comparisons.setdefault(subscriber.user, first)
        if positions:
            held = {position.key for position in positions}
            await self._feeds.acquire(subscriber, held)
            await self._feeds.flush()
            positions, _ = await self._read_positions([subscriber.user])
            gone = held - {position.key for position in positions}
        subscriber.is_started = True
        starts = {}
        for user, key, last_sequence, visible_from in positions:
            if key[1] in subscriber.conversation_ids:
                starts[key[1]] = self._feeds.start(subscriber, key, last_sequence, visible_from)
            else:
                self._joins.want(key, user)
        for conversation_id in subscriber.postponed_joins:
            self._joins.want((subscriber.user[0], conversation_id), subscriber.user)
        await self._let_go(subscriber, gone)
        return starts

    async def _let_go(self, subscriber: Subscriber, gone: Collection[ConversationKey]) -> None:
        """Release what the user left while the subscriber began, unless the user came back."""
        await self._feeds.release(subscriber, gone)
        for key in gone:
            self._let_out(key, subscriber.user)

    def _let_out(self, key: ConversationKey, user: UserKey) -> None:
        """Somebody is out of a conversation, and may have come back since."""
        self._in_background(self._looks.end_at(key, user))
        self._joins.check(key, user)

    def _give_back(self, person: UserKey) -> None:
        """A call of the person's is over."""
        self._subscriptions[person] -= 1
        if not self._subscriptions[person]:
            del self._subscriptions[person]

    def _leave(self, subscriber: Subscriber) -> None:
        """Deliver nothing to a subscriber any more; a second time does nothing.

        Its call may go on, and is counted as long as it does.
        """
        of_user = self._subscribers.get(subscriber.user)
        if of_user is None or subscriber not in of_user:
            return
        subscriber.has_left = True
        if subscriber.on_leave is not None:
            subscriber.on_leave()
        of_user.remove(subscriber)
        if not of_user:
            del self._subscribers[subscriber.user]
            self._comparisons.pop(subscriber.user, None)
            self._people.forget(subscriber.user)
        # A task: the call that ends may be cancelled, and must not keep what it holds.
        self._in_background(self._release(subscriber))

    def _in_background(self, release: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(release, name="live-release")
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)

    async def _release(self, subscriber: Subscriber) -> None:
        await self._feeds.release_all(subscriber)
        await self._looks.end(subscriber)

    async def _tick_forever(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            try:
                self._end_stalled()
                self._send_heartbeats()
                await self._compare_due()
                await self._looks.end_old()
            except (ServiceError, nats.errors.Error) as error:
                logger.info("the comparison of live delivery waits: %s", error)
            except Exception:
                logger.exception("the comparison of live delivery failed")

    def _end_stalled(self) -> None:
        """Let go of those whose calls hang in a write that their clients never read."""
        stalled_since = monotonic() - self._stall_s
        for subscriber in self._list_subscribers():
            if subscriber.write_time <= stalled_since:
                subscriber.end_slow()
            if subscriber.is_ended:
                self._leave(subscriber)

    def _send_heartbeats(self) -> None:
        quiet_since = monotonic() - self._heartbeat_interval_s
        for subscriber in self._list_subscribers():
            if subscriber.is_started and subscriber.push_time <= quiet_since:
                subscriber.push(_HEARTBEAT)

    def _list_subscribers(self) -> list[Subscriber]:
        return [each for of_user in self._subscribers.values() for each in of_user]

    async def _compare_due(self) -> None:
        """Compare users whose turn it is with the database; all of them after a reconnect."""
        reconnects = self._broker.stats["reconnects"]
        now = monotonic()
        due_before = now if reconnects != self._reconnects else now - self._compare_interval_s
        due = [user for user, last in self._comparisons.items() if last.time <= due_before]
        for begin in range(0, len(due), _COMPARE_USERS):
            await self._compare(due[begin : begin + _COMPARE_USERS], now)
        if self._retry_time <= due_before:
            self._retry_time = now
            self._retry()
        if reconnects != self._reconnects:
            self._lost_departures.begin()
        self._reconnects = reconnects
        await self._lost_departures.check()

    def _retry(self) -> None:
        """Try again what failed and a comparison need not find again, since it moved long ago."""
        self._feeds.fill_gaps()
        self._joins.retry()

    async def _compare(self, users: Collection[UserKey], now: float) -> None:
        """Find what was stored or joined since the last comparison of these users."""
        known = [self._comparisons[user] for user in users if user in self._comparisons]
        if not known:
            return  # they left meanwhile
        moved_since = min(last.database_time for last in known) - _COMMIT_DELAY
        positions, database_time = await self._read_positions(users, moved_since)
        for user, key, last_sequence, _ in positions:
            self._feeds.learn(key, last_sequence)
            if any(
                key[1] not in subscriber.conversation_ids
                for subscriber in self._subscribers.get(user, ())
            ):
                self._joins.want(key, user)
        await self._people.compare(users)
        for user in users:
            if user in self._comparisons:
                self._comparisons[user] = _Comparison(now, database_time)

    async def _read_positions(
        self, users: Collection[UserKey], moved_since: dt.datetime | None = None
    ) -> tuple[list[Position], dt.datetime]:
        async with self._reads, self._pool.acquire() as connection:
            repository = ParticipantRepository(connection)
            return await repository.list_positions(users, moved_since=moved_since)


def _find_person(user: UserKey) -> UserKey:
    """Return the same for a person in whichever corp: a customer may name any, and many."""
    _, participant = user
    return ("", participant) if participant.kind == PrincipalKind.CUSTOMER else user
