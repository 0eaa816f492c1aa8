"""The flow of a search: the closest matches first, and no further than a page.

What a short query matches may be a tenth of a corp of a million. Beginnings come from an ordered
index and cost what the page costs. Of texts that hold the query somewhere a fair sample tells how
many there are: of many, the next ones are soon found by looking on; few are all read by their
grams. A viewer who sees few people is answered by looking at each of them.
"""

from tieline.chassis.postgres import Connection
from tieline.directory.members.rules import SearchPosition
from tieline.directory.repositories import search as repository
from tieline.directory.repositories.search import (
    BEGINS,
    BEGINS_LATER,
    HOLDS,
)
from tieline.directory.repositories.search_query import SearchQuery

# A millisecond's entries.
_SAMPLE = 1000

# So many in a sample, and a page of 20 is full after 4,000 entries; with fewer, some 5,000 of a
# million hold the query, which is as much to read.
_MANY = 5

_LOOK_ON = 4000


async def search(
    connection: Connection, query: SearchQuery, *, after: SearchPosition, limit: int
) -> list[SearchPosition]:
    """Return where the members whom the viewer finds stand, at most ``limit`` behind ``after``.

    The connection has the settings of searches, ``SESSION_SETTINGS``.
    """
    if query.viewer.is_narrow:
        department_ids = await _list_departments(connection, query)
        return await repository.list_among_few(
            connection, query, department_ids, after=after, limit=limit
        )
    found: list[SearchPosition] = []
    for closeness in (BEGINS, BEGINS_LATER):
        if after.closeness <= closeness and len(found) < limit:
            found += await repository.list_by_term(
                connection, query, closeness, after=after, limit=limit - len(found)
            )
    if after.closeness <= HOLDS and len(found) < limit and query.held is not None:
        found += await _list_holding(connection, query, after, limit - len(found))
    if len(found) < limit:
        department_ids = await _list_departments(connection, query)
        found += await repository.list_by_department(
            connection, query, department_ids, after=after, limit=limit - len(found)
        )
    return found


async def _list_holding(
    connection: Connection, query: SearchQuery, after: SearchPosition, limit: int
) -> list[SearchPosition]:
    found: list[SearchPosition] = []
    position: SearchPosition | None = after
    size = _SAMPLE
    while position is not None and len(found) < limit:
        sampled, position = await repository.list_sample(
            connection, query, after=position, size=size
        )
        found += sampled
        if len(sampled) < _MANY:
            break
        size = _LOOK_ON
    if position is not None and len(found) < limit:
        found += await repository.list_by_gram(
            connection, query, after=position, limit=limit - len(found)
        )
    return found[:limit]


async def _list_departments(connection: Connection, query: SearchQuery) -> list[int]:
    """Return the departments that the viewer is shown and whose path holds the query."""
    found = await repository.list_departments_by_path(connection, query)
    return [
        department_id for department_id in found if query.viewer.can_see_department(department_id)
    ]
