"""What is due is sent by any replica, by pushes that stand in a database of the test's own."""

import asyncio
import datetime as dt
import ssl
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from engines import Database, create_database
from fakes.certificates import write_certificate
from fakes.eventually import eventually
from fakes.webhook_inbox import SECRET, WebhookInbox
from integration.messaging.chat import text
from tieline.chassis.health import Health
from tieline.chassis.postgres import Pool, create_pool, transaction
from tieline.messaging.conversations.rules import member
from tieline.messaging.push.pushing import PushRunner
from tieline.messaging.push.rules import Newest
from tieline.messaging.push.senders import WebhookPushSender
from tieline.messaging.push.targets import NewTarget
from tieline.messaging.repositories.push_targets import PushTargetRepository
from tieline.messaging.repositories.pushes import PushRepository

LEASE = dt.timedelta(minutes=2)
LI = member("li.wei")


@pytest.fixture(scope="module")
async def pool(database: Database, worker_id: str) -> AsyncIterator[Pool]:
    created = await create_database(database, f"pushes_{worker_id}", ["messaging"])
    dsn = created.dsn("messaging")
    async with create_pool(dsn, service="messaging", max_size=4, health=Health()) as pool:
        yield pool


@pytest.fixture
async def corp_id(pool: Pool) -> AsyncIterator[str]:
    """A corp of the test's own; its pushes are gone afterwards."""
    yield f"ww{uuid.uuid4().hex[:12]}"
    await execute(pool, "DELETE FROM messaging.pushes")


async def execute(pool: Pool, statement: str, *parameters: object) -> None:
    async with pool.acquire() as connection:
        await connection.execute(statement, *parameters)


async def seed(pool: Pool, corp_id: str, session_id: str = "session", *, wants: bool = True) -> str:
    """Let a member with one device have one unread message, due now; return the conversation."""
    conversation_id = str(uuid.uuid4())
    person = member(f"of.{session_id}")
    await execute(
        pool,
        """
        WITH made AS (
            INSERT INTO messaging.conversations
                   (corp_id, conversation_id, kind, name, last_sequence)
            VALUES ($1, $2, 'group', 'Team', 1)
        ), joined AS (
            INSERT INTO messaging.participants
                   (corp_id, conversation_id, kind, id, joined_sequence)
            SELECT $1, $2, 'member', id, 0 FROM unnest(ARRAY[$3, 'li.wei']) AS people (id)
        )
        INSERT INTO messaging.stored_messages
               (corp_id, conversation_id, sequence, sender_kind, sender_id, client_message_id,
                content, create_time)
        VALUES ($1, $2, 1, 'member', 'li.wei', 'm', $4, now())
        """,
        corp_id,
        conversation_id,
        person.id,
        text("hello").SerializeToString(),
    )
    async with transaction(pool) as connection:
        await PushTargetRepository(connection).register(
            (corp_id, person), session_id, NewTarget("other", f"token of {session_id}", "")
        )
        if wants:
            newest = Newest((corp_id, conversation_id), 1, LI, 0)
            await PushRepository(connection).insert_wanted([newest], dt.timedelta(0))
    return conversation_id


async def expire_claims(pool: Pool) -> None:
    await execute(
        pool,
        """
        UPDATE messaging.pushes SET due_time = now(), claimed_until = now()
         WHERE due_time IS NOT NULL
        """,
    )


def runner(
    pool: Pool, inbox: WebhookInbox, *, scheme: str = "http", timeout_s: float = 20
) -> PushRunner:
    url = f"{scheme}://127.0.0.1:{inbox.port}/pushes"
    return PushRunner(pool, WebhookPushSender(url, SECRET, timeout_s=timeout_s), dt.timedelta(0))


async def test_replica_that_ends_between_sending_and_writing_down_leaves_a_repeat_of_the_same_id(
    corp_id: str, pool: Pool
) -> None:
    own, others = WebhookInbox("token"), WebhookInbox("token")
    await seed(pool, corp_id)
    async with own.serving(), others.serving():
        own.statuses["token of session"] = [0]
        dying = asyncio.create_task(runner(pool, own).turn())
        await eventually(lambda: own.received)
        dying.cancel()
        await asyncio.gather(dying, return_exceptions=True)
        # As long as the lease holds nobody takes it.
        await runner(pool, others).turn()
        assert others.received == []
        await expire_claims(pool)
        replicas = [runner(pool, others) for _ in range(3)]
        await asyncio.gather(*(each.turn() for each in replicas))
        await replicas[0].turn()

    assert own.received == others.received
    assert len(own.received) == 1


@pytest.mark.parametrize("fault", ["timeout", "away", "wrong certificate"])
async def test_webhook_that_does_not_answer_is_tried_later(
    corp_id: str, pool: Pool, tmp_path: Path, fault: str
) -> None:
    inbox, scheme, tls = WebhookInbox("token"), "http", None
    if fault == "timeout":
        inbox.statuses["token of session"] = [0]
    elif fault == "wrong certificate":
        scheme, tls = "https", ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(write_certificate(tmp_path))
    await seed(pool, corp_id)
    async with AsyncExitStack() as stack:
        if fault != "away":
            await stack.enter_async_context(inbox.serving(tls))
        await runner(pool, inbox, scheme=scheme, timeout_s=0.5).turn()

    async with pool.acquire() as connection:
        row = await connection.fetchrow(
            """
            SELECT failures, due_time > now() AS waits, pushed_sequence
              FROM messaging.pushes WHERE corp_id = $1
            """,
            corp_id,
        )
    assert row is not None
    assert tuple(row) == (1, True, 0)
    assert len(inbox.received) == (1 if fault == "timeout" else 0)


async def test_delay_tells_for_how_long_the_oldest_had_been_due(corp_id: str, pool: Pool) -> None:
    inbox = WebhookInbox("token")
    for session_id in ("session", "other"):
        await seed(pool, corp_id, session_id)
    await execute(
        pool,
        """
        UPDATE messaging.pushes SET due_time = now() - interval '90 s'
         WHERE session_id = 'session'
        """,
    )
    pushing = runner(pool, inbox)
    delays: list[float] = []
    async with inbox.serving():
        while await pushing._push_batch():
            delays.append(pushing.delay_s)

    assert 90 <= max(delays) < 120
    assert pushing.delay_s == 0


async def test_backlog_of_a_webhook_that_was_away_is_one_push_a_conversation(
    corp_id: str, pool: Pool
) -> None:
    inbox = WebhookInbox("token")
    conversation_id = await seed(pool, corp_id)
    await runner(pool, inbox).turn()
    for sequence in range(2, 12):
        await _say(pool, corp_id, conversation_id, sequence)
    async with inbox.serving():
        await expire_claims(pool)
        await runner(pool, inbox).turn()
        # The events of what was told come late, and again.
        for sequence in (5, 11):
            await _want(pool, corp_id, conversation_id, sequence)
        await runner(pool, inbox).turn()

    (told,) = inbox.received
    assert (told["sequence"], told["unread_count"], told["badge"]) == (11, 11, 11)


async def test_flood_of_a_corp_takes_its_share(corp_id: str, pool: Pool) -> None:
    flooded, other = f"{corp_id}-a", f"{corp_id}-b"
    for number in range(5):
        await seed(pool, flooded, f"{flooded}-{number}")
    await seed(pool, other, "session")

    first = await _claim(pool, after="")
    second = await _claim(pool, after="")
    behind = await _claim(pool, after=flooded)

    assert first == [flooded, flooded, other]
    assert second == [flooded, flooded]
    assert behind == []


async def test_what_comes_while_one_is_being_sent_is_told_next(corp_id: str, pool: Pool) -> None:
    inbox = WebhookInbox("token")
    conversation_id = await seed(pool, corp_id)
    inbox.statuses["token of session"] = [0]
    async with inbox.serving():
        sending = asyncio.create_task(runner(pool, inbox, timeout_s=20).turn())
        await eventually(lambda: inbox.received)
        await _say(pool, corp_id, conversation_id, 2)
        inbox.let_go()
        await sending
        await runner(pool, inbox).turn()

    assert [post["sequence"] for post in inbox.received] == [1, 2]
    assert len({post["delivery_id"] for post in inbox.received}) == 2


async def test_other_corps_devices_hear_nothing(corp_id: str, pool: Pool) -> None:
    inbox = WebhookInbox("token")
    conversation_id = await seed(pool, corp_id, "ours")
    other = f"{corp_id}-other"
    await seed(pool, other, "theirs", wants=False)
    # A corp in which the same person has the same conversation's id, which can't be.
    await _want(pool, other, conversation_id, 5)
    async with inbox.serving():
        await runner(pool, inbox).turn()

    assert [post["token"] for post in inbox.received] == ["token of ours"]


async def test_suspended_corps_are_silent_and_what_was_settled_long_ago_is_forgotten(
    corp_id: str, pool: Pool
) -> None:
    inbox = WebhookInbox("token")
    await seed(pool, corp_id)
    await execute(
        pool, "INSERT INTO messaging.corps (corp_id, is_suspended) VALUES ($1, true)", corp_id
    )
    async with inbox.serving():
        replica = runner(pool, inbox)
        await replica.turn()
        assert inbox.received == []
        assert await _count(pool, "pushes", corp_id) == 1
        await execute(
            pool,
            "UPDATE messaging.pushes SET settle_time = now() - interval '1 hour'"
            " WHERE corp_id = $1",
            corp_id,
        )
        await execute(
            pool,
            "UPDATE messaging.push_targets SET register_time = now() - interval '61 days'"
            " WHERE corp_id = $1",
            corp_id,
        )
        await replica.purge()

    assert await _count(pool, "pushes", corp_id) == 0
    assert await _count(pool, "push_targets", corp_id) == 0


async def _say(pool: Pool, corp_id: str, conversation_id: str, sequence: int) -> None:
    """Store one more message, and note it as its event would."""
    await execute(
        pool,
        """
        WITH counted AS (
            UPDATE messaging.conversations SET last_sequence = $3
             WHERE corp_id = $1 AND conversation_id = $2
        )
        INSERT INTO messaging.stored_messages
               (corp_id, conversation_id, sequence, sender_kind, sender_id, client_message_id,
                content, create_time)
        VALUES ($1, $2, $3, 'member', 'li.wei', 'm' || $3, $4, now())
        """,
        corp_id,
        conversation_id,
        sequence,
        text("hello").SerializeToString(),
    )
    await _want(pool, corp_id, conversation_id, sequence)


async def _want(pool: Pool, corp_id: str, conversation_id: str, sequence: int) -> None:
    newest = Newest((corp_id, conversation_id), sequence, LI, 0)
    async with transaction(pool) as connection:
        await PushRepository(connection).insert_wanted([newest], dt.timedelta(0))


async def _claim(pool: Pool, *, after: str) -> list[str]:
    async with transaction(pool) as connection:
        claims = await PushRepository(connection).claim_due(
            after_corp_id=after, of_corp=2, limit=100, lease=LEASE
        )
    return [claim.key.corp_id for claim in claims]


async def _count(pool: Pool, table: str, corp_id: str) -> int:
    async with pool.acquire() as connection:
        count: int = await connection.fetchval(
            f"SELECT count(*) FROM messaging.{table} WHERE corp_id = $1", corp_id
        )
        return count
