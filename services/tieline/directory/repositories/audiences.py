"""Who is in an audience, as far as somebody may reach them."""

from collections.abc import Collection, Sequence

from tieline.chassis.postgres import Connection
from tieline.directory.members.rules import PRESENT_STATES
from tieline.directory.repositories.viewers import member_filter
from tieline.directory.visibility.decision import People, Viewer


async def filter_reachable(
    connection: Connection, viewer: Viewer, user_ids: Collection[str]
) -> set[str]:
    """Return those of the user ids who are members, neither disabled nor gone, and seen."""
    condition, parameters = member_filter(viewer, 4, "members")
    rows = await connection.fetch(
        f"""
        SELECT user_id
          FROM directory.members
         WHERE corp_id = $1 AND user_id = ANY($2::text[]) AND state = ANY($3::text[])
           AND {condition}
        """,  # noqa: S608 -- the condition is code
        viewer.corp_id,
        list(user_ids),
        sorted(PRESENT_STATES),
        *parameters,
    )
    return {row["user_id"] for row in rows}


async def list_reachable(
    connection: Connection, viewer: Viewer, people: People, *, after: str, limit: int
) -> Sequence[str]:
    """Return the next of these people whom the viewer sees, by user id from behind ``after`` on."""
    among, among_parameters = _among(people)
    condition, parameters = member_filter(viewer, 5 + len(among_parameters), "members")
    rows = await connection.fetch(
        f"""
        SELECT user_id
          FROM directory.members
         WHERE corp_id = $1 AND user_id > $2 AND state = ANY($3::text[])
           AND {among} AND {condition}
         ORDER BY user_id
         LIMIT $4
        """,  # noqa: S608 -- the conditions are code
        viewer.corp_id,
        after,
        sorted(PRESENT_STATES),
        limit,
        *among_parameters,
        *parameters,
    )
    return [row["user_id"] for row in rows]


def _among(people: People) -> tuple[str, tuple[object, ...]]:
    """Return the condition that a member is among them; its parameters are $5 and $6."""
    if people.everybody:
        return "true", ()
    among = """user_id IN (
        SELECT place.user_id
          FROM directory.member_departments AS place
         WHERE place.corp_id = $1 AND place.department_id = ANY($5::bigint[])
         UNION ALL
        SELECT unnest($6::text[])
    )"""
    return among, (sorted(people.department_ids), sorted(people.user_ids))
