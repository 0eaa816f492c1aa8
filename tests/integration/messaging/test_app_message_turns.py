"""Single turns of apps' jobs: whatever happens in one, the next go on from what is committed."""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Any

import pytest

from fakes.eventually import eventually
from integration.messaging.chat import text
from tieline.api.messaging.v1 import app_message_service_pb2, messaging_pb2
from tieline.chassis.errors import ServiceError, UnavailableError
from tieline.chassis.ids import new_uuid7
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.messaging.app_messages import rules as app_messages
from tieline.messaging.app_messages.rules import Job, State
from tieline.messaging.app_messages.turns import LISTED, SENT, Turns
from tieline.messaging.live.announcer import Announcer
from tieline.messaging.messages.rules import Send
from tieline.messaging.repositories.app_messages import AppMessageRepository
from tieline.messaging.sending.batches import Sender
from tieline.messaging.upkeep import keep_up

APP_ID = "1000002"


class FakeReach:
    """Reaches those of a list; away where told so."""

    def __init__(self, *user_ids: str) -> None:
        self.user_ids = sorted(user_ids)
        self.is_away = False

    async def is_enabled(self, corp_id: str, app_id: str) -> bool:
        return True

    async def list_members(
        self, corp_id: str, app_id: str, audience: Any, *, after: str, limit: int
    ) -> Sequence[str]:
        if self.is_away:
            raise UnavailableError("SERVICE_UNAVAILABLE", "away")
        return [each for each in self.user_ids if each > after][:limit]


class FaultySender(Sender):
    """Fails as a whole where it is to send to somebody."""

    def __init__(self, announcer: Announcer, pool: Pool, corp_id: str, bad: str) -> None:
        super().__init__(announcer)
        self._pool = pool
        self._corp_id = corp_id
        self._bad = bad

    async def commit(
        self, connection: Connection, sends: Sequence[Send]
    ) -> Sequence[messaging_pb2.Message | ServiceError]:
        outcomes = await super().commit(connection, sends)
        is_bad = await connection.fetchval(
            """
            SELECT EXISTS (
                SELECT FROM messaging.participants
                 WHERE corp_id = $1 AND id = $2 AND conversation_id = ANY($3::text[]))
            """,
            self._corp_id,
            self._bad,
            [send.conversation_id for send in sends],
        )
        if is_bad:
            raise RuntimeError("a fault of the test's own")
        return outcomes


class Disconnected:
    """A broker to which nothing can be announced."""

    is_connected = False


class Bench:
    """A job that no replica takes, and turns of it."""

    def __init__(self, pool: Pool, reach: FakeReach) -> None:
        self.pool = pool
        self.reach = reach
        self.corp_id = "ww" + secrets.token_hex(12)
        self.announcer = Announcer(pool, Disconnected())  # type: ignore[arg-type]
        self.turns = self.build_turns(Sender(self.announcer))
        self.key = (self.corp_id, new_uuid7())

    def build_turns(self, sender: Sender) -> Turns:
        return Turns(self.pool, self.announcer, sender, self.reach)  # type: ignore[arg-type]

    async def begin(self) -> None:
        await keep_up(self.pool)
        async with transaction(self.pool) as connection:
            await AppMessageRepository(connection).insert(
                self.key,
                APP_ID,
                audience=app_message_service_pb2.AppMessageAudience(
                    everybody=True
                ).SerializeToString(),
                invalid=b"",
                content=text("news").SerializeToString(deterministic=True),
                digest=b"",
            )
            await connection.execute(
                """
                UPDATE messaging.app_message_jobs SET claimed_until = 'infinity'
                 WHERE corp_id = $1 AND job_id = $2
                """,
                *self.key,
            )

    async def get(self) -> Job:
        async with self.pool.acquire() as connection:
            job = await AppMessageRepository(connection).find(self.key, app_id=None)
        assert job is not None
        return job

    async def run(self, turns: Turns | None = None) -> Job:
        """Take turns until there is nothing to do."""
        job = await self.get()
        while job.has_work:
            await (turns or self.turns).take(job)
            job = await self.get()
        return job

    async def recall(self) -> None:
        async with transaction(self.pool) as connection:
            repository = AppMessageRepository(connection)
            job = await repository.find(self.key, app_id=APP_ID, locks=True)
            assert job is not None
            await repository.save(app_messages.begin_recall(job))

    async def count(self, what: str) -> dict[str, int]:
        """Count recipients by ``state``, or messages by ``client_message_id``."""
        table = "app_message_recipients" if what == "state" else "stored_messages"
        async with self.pool.acquire() as connection:
            rows = await connection.fetch(
                f"SELECT {what}, count(*) FROM messaging.{table} WHERE corp_id = $1 GROUP BY 1",
                self.corp_id,
            )
        return {row[0]: row[1] for row in rows}


def people(count: int) -> list[str]:
    return [f"u{number:04}" for number in range(count)]


@pytest.fixture
async def bench(pool: Pool) -> Bench:
    bench = Bench(pool, FakeReach(*people(SENT + 20)))
    await bench.begin()
    return bench


async def test_two_who_work_on_the_same_job_send_everything_once(bench: Bench) -> None:
    bench.reach.user_ids = people(LISTED + 1)

    async def work() -> None:
        job = await bench.get()
        while job.has_work:
            # Both of them with what they read before, as after a lease that ended too early.
            await bench.turns.take(job)
            job = await bench.get()

    await asyncio.gather(work(), work())

    job = await bench.get()
    assert (job.state, job.recipient_count, job.sent_count) == (State.SENT, LISTED + 1, LISTED + 1)
    message_id = app_messages.build_client_message_id(job)
    assert await bench.count("client_message_id") == {message_id: LISTED + 1}


async def test_a_turn_that_is_cut_off_leaves_nothing_half_done(bench: Bench) -> None:
    await bench.turns.take(await bench.get())

    for _ in range(3):
        turn = asyncio.create_task(bench.turns.take(await bench.get()))

        async def is_sending(turn: "asyncio.Task[None]" = turn) -> bool:
            return turn.done() or bool(await _count_locks(bench.pool))

        await eventually(is_sending)
        turn.cancel()
        await asyncio.gather(turn, return_exceptions=True)
        states = await bench.count("state")
        stored = await bench.count("client_message_id")
        assert states.get("sent", 0) == sum(stored.values())

    job = await bench.run()
    assert job.sent_count == SENT + 20
    assert await bench.count("state") == {"sent": SENT + 20}


async def _count_locks(pool: Pool) -> int:
    async with pool.acquire() as connection:
        count: int = await connection.fetchval(
            """
            SELECT count(*) FROM pg_locks
             WHERE relation = 'messaging.app_message_jobs'::regclass AND mode = 'RowShareLock'
            """
        )
    return count


async def test_one_recipient_who_meets_a_fault_is_the_only_one_to_get_nothing(
    bench: Bench,
) -> None:
    faulty = FaultySender(bench.announcer, bench.pool, bench.corp_id, "u0007")

    job = await bench.run(bench.build_turns(faulty))

    assert (job.state, job.sent_count, job.failed_count) == (State.SENT, SENT + 19, 1)
    assert await bench.count("state") == {"sent": SENT + 19, "failed": 1}


async def test_what_is_recalled_halfway_reaches_nobody_else(bench: Bench) -> None:
    for _ in range(2):
        await bench.turns.take(await bench.get())
    stale = await bench.get()
    assert (stale.sent_count, stale.waiting_count) == (SENT, 20)

    await bench.recall()
    # Who had the job in hand finds that it is taken back.
    await bench.turns.take(stale)
    job = await bench.run()

    assert (job.state, job.sent_count, job.recalled_count, job.failed_count) == (
        State.RECALLED,
        SENT,
        SENT,
        20,
    )
    assert await bench.count("state") == {"recalled": SENT, "failed": 20}


async def test_while_the_directory_is_away_the_job_stays_as_it_is_for_a_day(bench: Bench) -> None:
    bench.reach.is_away = True
    before = await bench.get()
    with pytest.raises(UnavailableError):
        await bench.turns.take(before)
    assert await bench.get() == before

    async with bench.pool.acquire() as connection:
        await connection.execute(
            """
            UPDATE messaging.app_message_jobs SET create_time = create_time - interval '25 hours'
             WHERE corp_id = $1
            """,
            bench.corp_id,
        )
    job = await bench.run()
    assert job.failure is not None
    failure = messaging_pb2.SendError.FromString(job.failure)
    assert (job.state, failure.reason) == (State.FAILED, "APP_MESSAGE_JOB_EXPIRED")
