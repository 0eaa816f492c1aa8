"""The visible ranges of apps, as identity answered."""

from dataclasses import dataclass

from tieline.chassis.postgres import Connection
from tieline.directory.visibility.decision import Scope


@dataclass(frozen=True, slots=True)
class StoredAppRange:
    """What is kept of an app's visible range."""

    generation: int
    scope: Scope | None
    """None until identity has been asked."""


async def find(connection: Connection, corp_id: str, agent_id: str) -> StoredAppRange:
    """Return what is kept of the app's range."""
    row = await connection.fetchrow(
        """
        SELECT generation, is_known, user_ids, department_ids, tag_ids
          FROM directory.app_ranges
         WHERE corp_id = $1 AND agent_id = $2
        """,
        corp_id,
        agent_id,
    )
    if row is None:
        return StoredAppRange(0, None)
    if not row["is_known"]:
        return StoredAppRange(row["generation"], None)
    scope = Scope(
        user_ids=frozenset(row["user_ids"]),
        department_ids=frozenset(row["department_ids"]),
        tag_ids=frozenset(row["tag_ids"]),
    )
    return StoredAppRange(row["generation"], scope)


async def forget(connection: Connection, corp_id: str, agent_id: str) -> None:
    """Have the app's range asked for anew, answers that are under way included.

    Of a corp that is gone nothing is kept: nobody would delete it again.
    """
    await connection.execute(
        """
        INSERT INTO directory.app_ranges (corp_id, agent_id, generation)
        SELECT corp_id, $2, 1
          FROM directory.corps
         WHERE corp_id = $1 AND delete_time IS NULL
        ON CONFLICT ON CONSTRAINT app_ranges_pkey
        DO UPDATE SET generation = app_ranges.generation + 1, is_known = false
        """,
        corp_id,
        agent_id,
    )


async def keep(
    connection: Connection, corp_id: str, agent_id: str, scope: Scope, *, generation: int
) -> None:
    """Keep what identity answered, unless an event came since `generation` or the corp is gone."""
    await connection.execute(
        """
        INSERT INTO directory.app_ranges
               (corp_id, agent_id, generation, is_known, user_ids, department_ids, tag_ids)
        SELECT corp_id, $2, $3::bigint, true, $4::text[], $5::bigint[], $6::bigint[]
          FROM directory.corps
         WHERE corp_id = $1 AND delete_time IS NULL
        ON CONFLICT ON CONSTRAINT app_ranges_pkey
        DO UPDATE SET
               is_known = true,
               user_ids = excluded.user_ids,
               department_ids = excluded.department_ids,
               tag_ids = excluded.tag_ids
         WHERE app_ranges.generation = excluded.generation
        """,
        corp_id,
        agent_id,
        generation,
        sorted(scope.user_ids),
        sorted(scope.department_ids),
        sorted(scope.tag_ids),
    )
