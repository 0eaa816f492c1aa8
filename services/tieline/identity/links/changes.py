"""Changes of links in the database, each told to the other services with the whole link."""

from collections.abc import Callable, Iterable, Sequence

from tieline.api.identity.v1 import corp_link_pb2
from tieline.chassis.etags import check_etag
from tieline.chassis.outbox import Event, build_event
from tieline.chassis.postgres import Connection
from tieline.identity.acts import record_act
from tieline.identity.links.messages import to_link
from tieline.identity.links.rules import (
    Act,
    CorpLink,
    apply_act,
    corp_link_not_found_error,
    shuts_out,
)
from tieline.identity.repositories import corp_links, corps
from tieline.identity.sessions.revocations import revoke_link_tokens

CORP_LINK_CHANGED = "tieline.identity.v1.corp_link_changed"

Change = Callable[[CorpLink], CorpLink]
"""Returns the link as it is to be, the same object where nothing changes."""


async def change_link(
    connection: Connection,
    corp_id: str,
    link_id: str,
    change: Change,
    *,
    action: str,
    etag: str = "",
) -> corp_link_pb2.CorpLink:
    """Change the corp's link under the lock of both sides; return it as it is then."""
    link = await corp_links.lock_link(connection, corp_id, link_id)
    if link is None:
        raise corp_link_not_found_error()
    check_etag(etag, link.change_number)
    changed = change(link)
    if changed is not link:
        changed = await corp_links.update_link(connection, changed)
        events: list[Event] = []
        if shuts_out(link, changed):
            events = await revoke_link_tokens(connection, link.upper_corp_id, link.link_id)
        return await record_link(connection, changed, action, log_corp_id=corp_id, events=events)
    [message] = await to_messages(connection, [link])
    return message


async def record_link(
    connection: Connection,
    link: CorpLink,
    action: str,
    *,
    log_corp_id: str,
    events: Sequence[Event] = (),
) -> corp_link_pb2.CorpLink:
    """Write a change of the link down and tell the other services of it; return the link.

    ``events`` are what else follows from it. The change stands in the log of the side that did it:
    members of the other one are nobody there. The caller holds the locks of both rows.
    """
    [message] = await to_messages(connection, [link])
    event = build_event(
        CORP_LINK_CHANGED,
        link.upper_corp_id,
        f"corp_links/{link.link_id}",
        corp_link_pb2.CorpLinkChanged(link=message, change_number=link.change_number),
    )
    await record_act(
        connection,
        corp_id=log_corp_id,
        action=action,
        resource=f"corpLinks/{link.link_id}",
        details={"partner_corp_id": link.partner_of(log_corp_id), "state": link.state},
        events=[event, *events],
    )
    return message


async def leave_links(connection: Connection, corp_id: str, *, maximum_links: int) -> int:
    """End so many open links of a corp that is being deleted; return how many there were.

    That stands in the logs of the partners.
    """
    links = await corp_links.list_open_links(connection, corp_id, maximum_links)
    for link in links:
        await change_link(
            connection, link.partner_of(corp_id), link.link_id, _end, action="corp_link.end"
        )
    return len(links)


async def to_messages(
    connection: Connection, links: Iterable[CorpLink]
) -> list[corp_link_pb2.CorpLink]:
    """Return links with what outsiders see of both corps."""
    listed = list(links)
    found = await corps.find_corps(
        connection, sorted({corp_id for link in listed for corp_id in link.corp_ids})
    )
    return [to_link(link, found[link.upper_corp_id], found[link.lower_corp_id]) for link in listed]


def _end(link: CorpLink) -> CorpLink:
    """Return the link ended, an invitation as if it were taken back."""
    return apply_act(link, link.upper_corp_id, Act.LEAVE)
