"""Who has this number or address: answered, and counted where nobody has it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tieline.chassis.authorization import Right
from tieline.chassis.calls import current_principal
from tieline.chassis.errors import PermissionDeniedError
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.directory.members.lookup_limits import allowance_of, check_allowance, nobody_error
from tieline.directory.repositories import lookups
from tieline.directory.repositories.viewers import list_departments_of
from tieline.directory.visibility.decision import Viewer
from tieline.directory.visibility.viewers import Viewers, gets_contact_details


@dataclass(frozen=True, slots=True)
class Lookup:
    """What somebody can be looked up by."""

    find: Callable[[Connection, str, str], Awaitable[str | None]]
    fields: frozenset[str]
    """The fields that are looked at: of whom one is hidden, nothing is told."""


BY_MOBILE = Lookup(lookups.find_by_mobile, frozenset({"mobile"}))
BY_EMAIL = Lookup(lookups.find_by_email, frozenset({"email", "biz_email"}))


async def look_up(pool: Pool, viewers: Viewers, corp_id: str, lookup: Lookup, value: str) -> str:
    """Return the member's user id, or raise NotFoundError and count that against the caller."""
    principal = current_principal()
    if not gets_contact_details(principal):
        raise PermissionDeniedError(
            "CALLER_NOT_ALLOWED",
            f"an app needs the right {Right.READ_CONTACT_DETAILS.name} for this",
            {"right": Right.READ_CONTACT_DETAILS.name},
        )
    principal_id = f"{principal.kind}:{principal.id}"
    async with viewers.reading(principal, corp_id) as (connection, viewer):
        check_allowance(*await lookups.read_failures(connection, corp_id, principal_id))
        user_id = await lookup.find(connection, corp_id, value)
        if user_id is not None and await _is_shown(connection, viewer, user_id, lookup.fields):
            return user_id
    async with transaction(pool) as connection:
        if not await lookups.count_failure(connection, corp_id, principal_id):
            allowance = allowance_of(await lookups.count_members(connection, corp_id))
            await lookups.insert_first_failure(connection, corp_id, principal_id, allowance)
    raise nobody_error()


async def _is_shown(
    connection: Connection, viewer: Viewer, user_id: str, fields: frozenset[str]
) -> bool:
    if viewer.is_unlimited:
        return True
    place = (await list_departments_of(connection, viewer.corp_id, [user_id]))[user_id]
    return viewer.can_see(user_id, place) and fields.isdisjoint(
        viewer.list_hidden_fields(user_id, place)
    )
