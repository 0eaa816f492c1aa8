"""The indexer: makes members searchable, in the order in which they changed.

Whoever writes members writes nothing for searches. Each change has its number, and what finds a
member is made from the member afterwards: a few by the next search itself, which so finds what was
acknowledged before it; the thousands of an import in the background, by whichever replica gets the
corp's row in ``search_progress``. A batch that is lost with its process is made again.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tieline.chassis.postgres import Connection, Pool
from tieline.chassis.repeating import repeating
from tieline.directory.imports.running import RunningImports
from tieline.directory.repositories import search_index as repository
from tieline.directory.repositories.search_index import ChangedMember
from tieline.directory.search.terms import SearchEntry, build_entry

# Some 100 ms: a search that comes at the same time waits no longer than that.
_BATCH_MEMBERS = 500

# Between two looks for corps that are behind. Searches don't wait for it.
_INTERVAL_S = 1.0

# To an import, before each batch: while one runs, 500 members a second are indexed. An import that
# has the process to itself takes half the time.
_GIVE_WAY_S = 1.0

# Between two looks at every corp. What changes is told to the indexer in the transaction of the
# change; only a change of the program, or one by an older program, has to be looked for.
_WHOLE_LOOK_INTERVAL_S = 300.0

# Of one look; the others' turn comes with the next.
_MAX_CORPS = 100


async def catch_up(connection: Connection, corp_id: str) -> bool:
    """Index what changed in the corp, one batch at most; tell whether that was all."""
    progress = await repository.find_progress(connection, corp_id)
    if progress.indexed >= progress.last:
        return True
    async with connection.transaction():
        return await _index_batch(connection, corp_id)


@asynccontextmanager
async def indexing(pool: Pool, imports: RunningImports) -> AsyncIterator[None]:
    """Index what changes in any corp until the block is left; imports go first."""

    async def index_waiting() -> None:
        async with pool.acquire() as connection:
            corp_ids = await repository.list_waiting_corps(connection, _MAX_CORPS)
            await _index_all(connection, corp_ids, imports)

    async def index_those_behind() -> None:
        async with pool.acquire() as connection:
            while corp_ids := await repository.list_corps_behind(connection, _MAX_CORPS):
                await _index_all(connection, corp_ids, imports)

    async with (
        repeating("the search indexer", index_waiting, interval_s=_INTERVAL_S, at_once=True),
        repeating(
            "the search indexer's look at every corp",
            index_those_behind,
            interval_s=_WHOLE_LOOK_INTERVAL_S,
            at_once=True,
        ),
    ):
        yield


async def _index_all(
    connection: Connection, corp_ids: Sequence[str], imports: RunningImports
) -> None:
    for corp_id in corp_ids:
        is_done = False
        while not is_done:
            await imports.give_way(_GIVE_WAY_S)
            is_done = await catch_up(connection, corp_id)


async def _index_batch(connection: Connection, corp_id: str) -> bool:
    progress = await repository.lock_progress(connection, corp_id)
    changed = await repository.list_changed(connection, corp_id, progress, _BATCH_MEMBERS)
    is_all = len(changed) < _BATCH_MEMBERS
    await _write(connection, corp_id, changed)
    indexed = progress.last if is_all else changed[-1].change_number
    await repository.store_progress(connection, corp_id, indexed)
    return is_all


async def _write(connection: Connection, corp_id: str, changed: list[ChangedMember]) -> None:
    removed: list[tuple[str, str]] = []
    added: list[tuple[str, str]] = []
    entries: list[tuple[str, tuple[int, ...], SearchEntry]] = []
    for each in changed:
        user_id = each.member.user_id
        terms = set[str]()
        if not each.has_left:
            entry = build_entry(corp_id, each.member, each.department_ids)
            entries.append((user_id, each.department_ids, entry))
            terms.update(entry.terms)
        removed += [(term, user_id) for term in set(each.terms) - terms]
        added += [(term, user_id) for term in terms - set(each.terms)]
    await repository.delete_terms(connection, corp_id, removed)
    await repository.insert_terms(connection, corp_id, added)
    left = [each.member.user_id for each in changed if each.has_left]
    if left:
        await repository.delete_entries(connection, corp_id, left)
    if entries:
        await repository.upsert_entries(connection, corp_id, entries)
