"""Links between corps: two rows each, one under each side, written together."""

import datetime as dt
import uuid
from collections.abc import Collection

from tieline.chassis.postgres import Connection, Record
from tieline.identity.links.rules import (
    OPEN_STATES,
    CorpLink,
    CorpLinkKind,
    CorpLinkState,
    Share,
    ShareScope,
)

# `own` is the row of the corp that asks, `other` its partner's.
_PAIR = """
    SELECT own.link_id, own.kind, own.is_upper, own.state, own.change_number, own.create_time,
           own.update_time, own.corp_id, own.partner_corp_id,
           own.share_scope, own.share_department_ids, own.share_mobile, own.share_email,
           other.share_scope AS other_scope, other.share_department_ids AS other_department_ids,
           other.share_mobile AS other_mobile, other.share_email AS other_email
      FROM identity.corp_links AS own
      JOIN identity.corp_links AS other
        ON other.corp_id = own.partner_corp_id AND other.link_id = own.link_id
"""


async def insert_link(connection: Connection, link: CorpLink) -> str | None:
    """Insert the link; return the id of the open one of its kind where there is one, else None.

    The rows of both corps are locked.
    """
    existing = await connection.fetchval(
        """
        SELECT link_id
          FROM identity.corp_links
         WHERE corp_id = $1 AND partner_corp_id = $2 AND kind = $3
           AND state IN ('invited', 'active')
        """,
        link.upper_corp_id,
        link.lower_corp_id,
        link.kind.value,
    )
    if existing is not None:
        return str(existing)
    for corp_id in link.corp_ids:
        await _insert_side(connection, link, corp_id)
    return None


async def count_open_links(connection: Connection, corp_id: str) -> int:
    """Return how many invitations and links the corp has."""
    count: int = await connection.fetchval(
        """
        SELECT count(*)
          FROM identity.corp_links
         WHERE corp_id = $1 AND state IN ('invited', 'active')
        """,
        corp_id,
    )
    return count


async def lock_link(connection: Connection, corp_id: str, link_id: str) -> CorpLink | None:
    """Lock both rows of the corp's link until the transaction ends; return it, or None.

    In the order of corp ids, so that the two sides wait for each other instead of deadlocking.
    """
    partner_corp_id: str | None = await connection.fetchval(
        "SELECT partner_corp_id FROM identity.corp_links WHERE corp_id = $1 AND link_id = $2",
        corp_id,
        uuid.UUID(link_id),
    )
    if partner_corp_id is None:
        return None
    for side in sorted((corp_id, partner_corp_id)):
        await connection.execute(
            "SELECT FROM identity.corp_links WHERE corp_id = $1 AND link_id = $2 FOR UPDATE",
            side,
            uuid.UUID(link_id),
        )
    return await find_link(connection, corp_id, link_id)


async def find_link(connection: Connection, corp_id: str, link_id: str) -> CorpLink | None:
    """Return the corp's link, or None."""
    row = await connection.fetchrow(
        f"{_PAIR} WHERE own.corp_id = $1 AND own.link_id = $2", corp_id, uuid.UUID(link_id)
    )
    return None if row is None else _to_link(row)


async def share_active_links(
    connection: Connection, corp_id: str, partner_corp_id: str
) -> list[CorpLink]:
    """Return the active links of two corps; they stay as they are until the transaction ends."""
    # One row of each is enough: whoever changes a link holds both.
    rows = await connection.fetch(
        """
        SELECT link_id
          FROM identity.corp_links
         WHERE corp_id = $1 AND partner_corp_id = $2 AND state = 'active'
           FOR SHARE
        """,
        corp_id,
        partner_corp_id,
    )
    # A second statement, so that both rows are read as they are under the lock.
    links = await connection.fetch(
        f"{_PAIR} WHERE own.corp_id = $1 AND own.link_id = ANY($2::uuid[])",
        corp_id,
        [row["link_id"] for row in rows],
    )
    return [_to_link(row) for row in links]


async def update_link(connection: Connection, link: CorpLink) -> CorpLink:
    """Write the locked link as it is to be; return it with its new etag."""
    for corp_id in link.corp_ids:
        share = link.upper_share if corp_id == link.upper_corp_id else link.lower_share
        await connection.execute(
            """
            UPDATE identity.corp_links
               SET state = $3, share_scope = $4, share_department_ids = $5, share_mobile = $6,
                   share_email = $7, change_number = change_number + 1, update_time = now()
             WHERE corp_id = $1 AND link_id = $2
            """,
            corp_id,
            uuid.UUID(link.link_id),
            link.state.value,
            share.scope.value,
            share.department_ids,
            share.mobile,
            share.email,
        )
    updated = await find_link(connection, link.upper_corp_id, link.link_id)
    assert updated is not None, "the locked link is there"
    return updated


async def list_links(
    connection: Connection,
    corp_id: str,
    kind: CorpLinkKind | None,
    states: Collection[CorpLinkState],
    before: tuple[dt.datetime, str] | None,
    limit: int,
) -> list[CorpLink]:
    """Return the corp's links, the newest first, from before this creation time and link on."""
    rows = await connection.fetch(
        f"""
        {_PAIR}
         WHERE own.corp_id = $1
           AND ($2::text IS NULL OR own.kind = $2)
           AND own.state = ANY($3::text[])
           AND ($4::timestamptz IS NULL OR (own.create_time, own.link_id) < ($4, $5::uuid))
         ORDER BY own.create_time DESC, own.link_id DESC
         LIMIT $6
        """,
        corp_id,
        None if kind is None else kind.value,
        [state.value for state in states],
        None if before is None else before[0],
        None if before is None else uuid.UUID(before[1]),
        limit,
    )
    return [_to_link(row) for row in rows]


async def list_open_links(connection: Connection, corp_id: str, limit: int) -> list[CorpLink]:
    """Return invitations and links that the corp has."""
    return await list_links(connection, corp_id, None, OPEN_STATES, None, limit)


async def _insert_side(connection: Connection, link: CorpLink, corp_id: str) -> None:
    is_upper = corp_id == link.upper_corp_id
    share = link.upper_share if is_upper else link.lower_share
    await connection.execute(
        """
        INSERT INTO identity.corp_links
               (corp_id, link_id, partner_corp_id, kind, is_upper, state, share_scope,
                share_department_ids, share_mobile, share_email)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        """,
        corp_id,
        uuid.UUID(link.link_id),
        link.partner_of(corp_id),
        link.kind.value,
        is_upper,
        link.state.value,
        share.scope.value,
        share.department_ids,
        share.mobile,
        share.email,
    )


def _to_link(row: Record) -> CorpLink:
    own = _to_share(row, "share_scope", "share_department_ids", "share_mobile", "share_email")
    other = _to_share(row, "other_scope", "other_department_ids", "other_mobile", "other_email")
    is_upper = row["is_upper"]
    return CorpLink(
        link_id=str(row["link_id"]),
        kind=CorpLinkKind(row["kind"]),
        upper_corp_id=row["corp_id"] if is_upper else row["partner_corp_id"],
        lower_corp_id=row["partner_corp_id"] if is_upper else row["corp_id"],
        state=CorpLinkState(row["state"]),
        upper_share=own if is_upper else other,
        lower_share=other if is_upper else own,
        change_number=row["change_number"],
        create_time=row["create_time"],
        update_time=row["update_time"],
    )


def _to_share(row: Record, scope: str, departments: str, mobile: str, email: str) -> Share:
    return Share(ShareScope(row[scope]), tuple(row[departments]), row[mobile], row[email])
