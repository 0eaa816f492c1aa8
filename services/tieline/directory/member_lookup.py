"""Who has this number or address: answered, and counted where nobody has it."""

from collections.abc import Awaitable, Callable

from tieline.chassis.calls import current_principal
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.directory.lookups import allowance_of, check_allowance, nobody_error
from tieline.directory.repositories import lookups

Find = Callable[[Connection, str, str], Awaitable[str | None]]


async def look_up(pool: Pool, corp_id: str, find: Find, value: str) -> str:
    """Return the member's user id, or raise NotFoundError and count that against the caller."""
    principal = current_principal()
    principal_id = f"{principal.kind}:{principal.id}"
    async with pool.acquire() as connection:
        check_allowance(*await lookups.read_failures(connection, corp_id, principal_id))
        user_id = await find(connection, corp_id, value)
    if user_id is not None:
        return user_id
    async with transaction(pool) as connection:
        if not await lookups.count_failure(connection, corp_id, principal_id):
            allowance = allowance_of(await lookups.count_members(connection, corp_id))
            await lookups.insert_first_failure(connection, corp_id, principal_id, allowance)
    raise nobody_error()
