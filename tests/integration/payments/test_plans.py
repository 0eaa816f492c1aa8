"""Statements about lists of rows keep looking them up when the tables have grown."""

import uuid

from plans import explain, list_planned_anew, new_database, reads_by_index_alone
from tieline.chassis.principals import PrincipalKind
from tieline.payments.red_packets import Opener, Opening
from tieline.payments.repositories.red_packets import RedPacketRepository


async def test_plan_made_on_a_small_table_finds_held_shares_by_index(
    postgres_admin_dsn: str, worker_id: str
) -> None:
    opening = Opening("ww0", str(uuid.uuid4()), Opener(PrincipalKind.MEMBER, "li.wei"))
    name = f"payments_plans_{worker_id}"
    async with new_database(postgres_admin_dsn, name, "payments") as connection:
        plan = await explain(
            connection,
            lambda recorded: RedPacketRepository(recorded, "ww0").find_held_shares([opening]),
        )

    assert reads_by_index_alone(plan), plan


async def test_opening_of_one_packet_is_not_planned_for_each_call(
    postgres_admin_dsn: str, worker_id: str
) -> None:
    opening = Opening("ww0", str(uuid.uuid4()), Opener(PrincipalKind.MEMBER, "li.wei"))
    name = f"payments_plans_anew_{worker_id}"
    async with new_database(postgres_admin_dsn, name, "payments") as connection:
        repository = RedPacketRepository(connection, "ww0")

        async def ask() -> None:
            await repository.lock_red_packets([opening.red_packet_id])
            await repository.find_held_shares([opening])
            await repository.list_free_shares({opening.red_packet_id: 1})

        assert await list_planned_anew(connection, ask) == []
