"""`tieline dead-letters` on letters that a service put aside."""

import uuid

import asyncpg
import nats as nats_client
import pytest

from e2e.platform_process import run_tieline
from tieline.embedded.nats import EmbeddedNats

SUBJECT = "tieline.identity.v1.corp_created"


@pytest.fixture
async def event_id(administration: dict[str, str]) -> str:
    """Put one event aside in directory's schema; return its id."""
    await run_tieline("migrate", "directory", **administration)
    event_id = str(uuid.uuid4())
    connection = await asyncpg.connect(administration["TIELINE_DATABASE_ADMIN_DSN"])
    await connection.execute(
        """
        INSERT INTO directory.dead_letters
               (corp_id, event_id, subject, payload, headers, reason, deliveries)
        VALUES ('ww1', $1, $2, 'the payload', '{}', 'no such [bold]thing', 8)
        """,
        event_id,
        SUBJECT,
    )
    await connection.close()
    return event_id


async def test_list_shows_why_an_event_was_given_up(
    administration: dict[str, str], event_id: str
) -> None:
    status, output = await run_tieline(
        "dead-letters", "list", "directory", **administration, COLUMNS="200"
    )

    assert status == 0
    (row,) = (line for line in output.splitlines() if event_id in line)
    for cell in ("ww1", SUBJECT, "8", "no such [bold]thing"):
        assert cell in row


async def test_replayed_letter_is_published_once_more_and_gone(
    administration: dict[str, str], event_id: str, nats: EmbeddedNats
) -> None:
    client = await nats_client.connect(nats.url("admin"))
    heard = await client.subscribe(SUBJECT)
    await client.flush()

    first = await run_tieline("dead-letters", "replay", "directory", "--all", **administration)
    second = await run_tieline("dead-letters", "replay", "directory", "--all", **administration)

    assert first == (0, "1 events sent again\n")
    assert second == (0, "0 events sent again\n")
    assert (await heard.next_msg(timeout=5)).data == b"the payload"
    await client.close()


async def test_letter_that_is_not_there_is_named(
    administration: dict[str, str], event_id: str
) -> None:
    status, output = await run_tieline(
        "dead-letters", "replay", "directory", "not-there", event_id, **administration
    )

    assert (status, output) == (1, "tieline: directory has no dead letter not-there\n")


async def test_replay_of_nothing_in_particular_is_refused(administration: dict[str, str]) -> None:
    status, output = await run_tieline("dead-letters", "replay", "directory", **administration)

    assert status == 2
    assert "give event ids, or --all" in output
