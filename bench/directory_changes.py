"""How long a client takes to catch up with 10,000 changes of a directory.

Measures ``directory.changes_10000_seconds``: the client library reads the feed from a cursor before
the changes, pages of 1,000. Beside it the same rows by one SELECT through the database's driver,
in the same PostgreSQL, right afterwards.
"""

import json
import time
from collections.abc import Sequence

import asyncpg

from bench.harness import Benchmark, Figure, Target, summarise
from bench.local_platform import LocalPlatform, running_platform, temporary_data
from tieline.api.directory.v1 import change_service_pb2
from tieline.api.identity.v1 import identity_pb2, identity_service_pb2
from tieline.client import Endpoints, SignedIn, Tieline, TielineError, connect

_CHANGES = "directory.changes_10000_seconds"
_SELECT = "limits.postgres_select_10000_seconds"
_COUNT = 10_000
_PAGE_SIZE = 1000
_RUNS = 5

_MAKE_CHANGES = """
    WITH corp AS (
        UPDATE directory.corps
           SET last_change_number = last_change_number + $2
         WHERE corp_id = $1
        RETURNING last_change_number - $2 AS number_before
    )
    INSERT INTO directory.members
           (corp_id, user_id, name, department_id, position, mobile, email,
            change_number)
    SELECT $1, 'member.' || number, '王小' || number, 1, 'Store assistant',
           '1380' || lpad(number::text, 7, '0'), number || '@staff.example.com',
           number_before + number
      FROM corp, generate_series(1, $2) AS number
    ON CONFLICT (corp_id, user_id) DO UPDATE SET change_number = excluded.change_number
"""

_BARE_SELECT = """
    SELECT user_id, name, department_id, position, mobile, email, create_time, update_time
      FROM directory.members
     WHERE corp_id = $1 AND change_number > $2
     ORDER BY change_number
"""


async def measure() -> Sequence[Figure]:
    """Change 10,000 members of one corp again and again; catch up each time."""
    feed, bare = [], []
    with temporary_data() as data:
        async with running_platform(data) as platform:
            database = await asyncpg.connect(_superuser_dsn(platform))
            async with connect(Endpoints.read(data / "endpoints.json")) as tieline:
                owner, corp_id = await _found_corp(tieline, platform)
                cursor, _ = await _catch_up(owner, "")
                for _ in range(_RUNS):
                    await database.execute(_MAKE_CHANGES, corp_id, _COUNT)
                    begin = time.monotonic()
                    cursor, count = await _catch_up(owner, cursor)
                    feed.append(time.monotonic() - begin)
                    assert count == _COUNT, f"{count} changes came, {_COUNT} were made"
                    bare.append(await _select_seconds(database, corp_id))
            await database.close()
    return [
        summarise(_SELECT, bare, "s"),
        summarise(
            _CHANGES,
            feed,
            "s",
            against=_SELECT,
            against_values=bare,
            target=Target("value", "at most", 1),
        ),
    ]


async def _catch_up(owner: SignedIn, cursor: str) -> tuple[str, int]:
    """Read from the cursor to the end; return the next cursor and how many changes there were."""
    count = 0
    while True:
        response = await owner.directory_changes.ListChanges(
            change_service_pb2.ListChangesRequest(cursor=cursor, page_size=_PAGE_SIZE)
        )
        count += len(response.changes)
        cursor = response.next_cursor
        if not response.has_more:
            return cursor, count


async def _select_seconds(database: "asyncpg.Connection[asyncpg.Record]", corp_id: str) -> float:
    last: int = await database.fetchval(
        "SELECT last_change_number FROM directory.corps WHERE corp_id = $1", corp_id
    )
    begin = time.monotonic()
    rows = await database.fetch(_BARE_SELECT, corp_id, last - _COUNT)
    seconds = time.monotonic() - begin
    assert len(rows) == _COUNT
    return seconds


async def _found_corp(tieline: Tieline, platform: LocalPlatform) -> tuple[SignedIn, str]:
    password = _secrets(platform)["platform_administrator_password"]
    administrator = await tieline.sign_in_platform_administrator("platform", password)
    created = await administrator.identity.CreateCorp(
        identity_service_pb2.CreateCorpRequest(
            display_name="Corp",
            kind=identity_pb2.CORP_KIND_COMPANY,
            owner_user_id="owner",
            owner_name="Owner",
        )
    )
    corp_id = created.corp.corp_id
    code = created.owner_invitation.code
    owner = await tieline.accept_invitation(corp_id, "owner", code, "a long password")
    while True:
        try:
            await _catch_up(owner, "")
            return owner, corp_id
        except TielineError as error:
            # The directory hears of a new corp by an event, within moments.
            if error.reason != "CORP_NOT_READY":
                raise


def _secrets(platform: LocalPlatform) -> dict[str, str]:
    secrets: dict[str, str] = json.loads((platform.data / "secrets.json").read_text())
    return secrets


def _superuser_dsn(platform: LocalPlatform) -> str:
    address = json.loads((platform.data / "endpoints.json").read_text())["postgres"]
    password = _secrets(platform)["postgres_password"]
    return f"postgresql://postgres:{password}@{address}/tieline"


BENCHMARKS = (Benchmark((_SELECT, _CHANGES), measure),)
