"""Opens red packets: many at once, each share once, late comers without the database.

The order in which an opening meets its checks:

    which packet            remembered, or read once: a packet never changes
    is the opener in its conversation?      asked each time; NOT_FOUND before anything else shows
    is the packet known to be empty?        its shares are remembered with it: who has one gets it
                                            again, everybody else is refused
    the database            under the packet's lock, together with whoever waited meanwhile
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from tieline.chassis.commit_batch import CommitBatcher
from tieline.chassis.errors import ServiceError
from tieline.chassis.ids import new_uuid7
from tieline.chassis.outbox import insert_events
from tieline.chassis.postgres import Connection, Pool
from tieline.payments.ledger import (
    Transfer,
    TransferKind,
    principal_account_id,
    red_packet_account_id,
)
from tieline.payments.messages import build_opened_event
from tieline.payments.participation import Participation
from tieline.payments.recent import Recent
from tieline.payments.red_packets import (
    FreeShare,
    Opener,
    Opening,
    RedPacket,
    Share,
    plan_openings,
    red_packet_empty_error,
    red_packet_not_found_error,
)
from tieline.payments.repositories import SCHEMA
from tieline.payments.repositories.ledger import LedgerRepository
from tieline.payments.repositories.red_packets import RedPacketRepository

# Openings of one packet wait for its lock anyway; lanes let different packets commit at the same
# time. Half of the default pool, so that reads always find a connection.
LANES = 4

# About 0.5 KiB each.
MAX_REMEMBERED_PACKETS = 10_000

# Up to 100 shares of about 0.3 KiB each: 30 MiB at most.
MAX_REMEMBERED_EMPTY_PACKETS = 1_000

_PacketKey = tuple[str, str]
"""Corp id and red packet id."""


class Openings:
    """Gives out shares; an async context manager that finishes what waits when left."""

    def __init__(self, pool: Pool, participation: Participation) -> None:
        self._pool = pool
        self._participation = participation
        self._packets: Recent[_PacketKey, RedPacket] = Recent(MAX_REMEMBERED_PACKETS)
        self._empty: Recent[_PacketKey, Mapping[Opener, Share]] = Recent(
            MAX_REMEMBERED_EMPTY_PACKETS
        )
        self._batcher: CommitBatcher[Opening, Share] = CommitBatcher(
            pool, self._commit, lanes=LANES, lane_of=lambda opening: opening.red_packet_id
        )

    async def __aenter__(self) -> Self:
        await self._batcher.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._batcher.__aexit__(kind, error, traceback)

    async def open(self, opening: Opening) -> Share:
        """Return the opener's share, given now or before.

        Raises NotFoundError RED_PACKET_NOT_FOUND and FailedPreconditionError RED_PACKET_EMPTY.
        """
        await self.get_visible_packet(opening)
        shares = self._empty.find((opening.corp_id, opening.red_packet_id))
        if shares is None:
            return await self._batcher.submit(opening)
        if opening.opener not in shares:
            raise red_packet_empty_error(opening.red_packet_id)
        return shares[opening.opener]

    async def get_visible_packet(self, opening: Opening) -> RedPacket:
        """Return the packet, or raise NotFoundError for those who may not know of it."""
        packet = await self._find_packet(opening)
        if packet is None or not await self._participation.has(
            opening.corp_id, packet.conversation_id, opening.opener
        ):
            raise red_packet_not_found_error(opening.red_packet_id)
        return packet

    async def _find_packet(self, opening: Opening) -> RedPacket | None:
        key = (opening.corp_id, opening.red_packet_id)
        packet = self._packets.find(key)
        if packet is None:
            async with self._pool.acquire() as connection:
                repository = RedPacketRepository(connection, opening.corp_id)
                packet = await repository.find_red_packet(opening.red_packet_id)
            if packet is not None:
                self._packets.remember(key, packet)
        return packet

    async def _commit(
        self, connection: Connection, openings: Sequence[Opening]
    ) -> Sequence[Share | ServiceError]:
        """Commit a batch, corp by corp: each corp's rows are on one node."""
        shares: dict[Opening, Share] = {}
        for corp_id in sorted({opening.corp_id for opening in openings}):
            of_corp = [opening for opening in openings if opening.corp_id == corp_id]
            shares |= await self._open_in_corp(connection, corp_id, of_corp)
        return [
            shares.get(opening) or red_packet_empty_error(opening.red_packet_id)
            for opening in openings
        ]

    async def _open_in_corp(
        self, connection: Connection, corp_id: str, openings: Sequence[Opening]
    ) -> dict[Opening, Share]:
        """Return the shares of those who have one or get one now."""
        repository = RedPacketRepository(connection, corp_id)
        wanted = Counter(opening.red_packet_id for opening in openings)
        await repository.lock_red_packets(list(wanted))
        held = await repository.find_held_shares(openings)
        free = await repository.list_free_shares(wanted)
        await self._remember_empty(repository, corp_id, free)
        planned = plan_openings(openings, held, free)
        if not planned:
            return held
        given = await _give(connection, repository, corp_id, planned)
        await insert_events(
            connection, SCHEMA, [build_opened_event(*opened) for opened in given.items()]
        )
        return held | given

    async def _remember_empty(
        self,
        repository: RedPacketRepository,
        corp_id: str,
        free: Mapping[str, Sequence[FreeShare]],
    ) -> None:
        """Remember the packets that earlier transactions have emptied, with all of their shares.

        Not those that this one empties: it may yet be rolled back.
        """
        for red_packet_id, shares in free.items():
            if not shares:
                opened = await repository.list_shares(red_packet_id)
                self._empty.remember(
                    (corp_id, red_packet_id), {share.opener: share for share in opened}
                )


async def _give(
    connection: Connection,
    repository: RedPacketRepository,
    corp_id: str,
    planned: Mapping[Opening, FreeShare],
) -> dict[Opening, Share]:
    """Write down who opens what, and move the money."""
    open_time = await repository.give_shares(planned)
    await LedgerRepository(connection, corp_id).post(
        [_build_transfer(opening, share) for opening, share in planned.items()]
    )
    return {
        opening: Share(share.position, share.amount_minor, opening.opener, open_time)
        for opening, share in planned.items()
    }


def _build_transfer(opening: Opening, share: FreeShare) -> Transfer:
    return Transfer(
        transfer_id=new_uuid7(),
        kind=TransferKind.RED_PACKET_OPENED,
        business_key=f"{opening.red_packet_id}/{share.position}",
        debit_account_id=red_packet_account_id(opening.red_packet_id),
        credit_account_id=principal_account_id(opening.opener.kind, opening.opener.id),
        amount_minor=share.amount_minor,
    )
