"""The SQL of red packets."""

import datetime as dt
from collections.abc import Mapping, Sequence

from tieline.chassis.postgres import Connection, Record
from tieline.chassis.principals import PrincipalKind
from tieline.payments.red_packets import (
    FreeShare,
    Opener,
    Opening,
    RedPacket,
    RedPacketIntent,
    Share,
)


class RedPacketRepository:
    """Reads and writes the red packets of one corp. Ids of packets are UUIDs."""

    def __init__(self, connection: Connection, corp_id: str) -> None:
        self._connection = connection
        self._corp_id = corp_id

    async def insert_red_packet(
        self,
        red_packet_id: str,
        sender_user_id: str,
        intent: RedPacketIntent,
        split_seed: bytes,
        share_amounts: Sequence[int],
    ) -> RedPacket:
        """Store a packet with all of its shares."""
        create_time = await self._connection.fetchval(
            """
            INSERT INTO payments.red_packets
                   (corp_id, red_packet_id, conversation_id, sender_user_id, amount_minor,
                    currency_code, share_count, greeting, split_seed)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
            RETURNING create_time
            """,
            self._corp_id,
            red_packet_id,
            intent.conversation_id,
            sender_user_id,
            intent.amount_minor,
            intent.currency_code,
            intent.share_count,
            intent.greeting,
            split_seed,
        )
        await self._connection.execute(
            """
            INSERT INTO payments.red_packet_shares
                   (corp_id, red_packet_id, position, amount_minor)
            SELECT $1, $2::uuid, share.position, share.amount_minor
              FROM unnest($3::bigint[]) WITH ORDINALITY AS share (amount_minor, position)
            """,
            self._corp_id,
            red_packet_id,
            share_amounts,
        )
        return RedPacket(
            red_packet_id=red_packet_id,
            conversation_id=intent.conversation_id,
            sender_user_id=sender_user_id,
            amount_minor=intent.amount_minor,
            currency_code=intent.currency_code,
            share_count=intent.share_count,
            greeting=intent.greeting,
            create_time=create_time,
            split_seed=split_seed,
        )

    async def find_red_packet(self, red_packet_id: str) -> RedPacket | None:
        """Return a packet."""
        row = await self._connection.fetchrow(
            """
            SELECT red_packet_id::text, conversation_id, sender_user_id, amount_minor,
                   currency_code, share_count, greeting, create_time, split_seed
              FROM payments.red_packets
             WHERE corp_id = $1 AND red_packet_id = $2
            """,
            self._corp_id,
            red_packet_id,
        )
        return None if row is None else RedPacket(**row)

    async def list_shares(self, red_packet_id: str) -> list[Share]:
        """Return the opened shares of a packet in the order of opening."""
        rows = await self._connection.fetch(
            """
            SELECT position, amount_minor, opener_kind, opener_id, open_time
              FROM payments.red_packet_shares
             WHERE corp_id = $1 AND red_packet_id = $2 AND opener_id IS NOT NULL
             ORDER BY position
            """,
            self._corp_id,
            red_packet_id,
        )
        return [_build_share(row) for row in rows]

    async def lock_red_packets(self, red_packet_ids: Sequence[str]) -> None:
        """Lock the packets until the transaction ends, in the order of their ids."""
        await self._connection.execute(
            """
            SELECT 1
              FROM payments.red_packets
             WHERE corp_id = $1 AND red_packet_id = ANY($2::uuid[])
             ORDER BY red_packet_id
               FOR UPDATE
            """,
            self._corp_id,
            red_packet_ids,
        )

    async def find_held_shares(self, openings: Sequence[Opening]) -> dict[Opening, Share]:
        """Return the shares that the openers hold already.

        The LATERAL subquery keeps the planner at one index lookup each: a plan that was made when
        the table was small would otherwise read it whole for as long as it is cached.
        """
        rows = await self._connection.fetch(
            """
            SELECT wanted.index, share.position, share.amount_minor,
                   share.opener_kind, share.opener_id, share.open_time
              -- One of unknown length: otherwise this would be planned anew for each batch.
              FROM unnest((SELECT $2::uuid[]), $3::text[], $4::text[])
                   WITH ORDINALITY AS wanted (red_packet_id, opener_kind, opener_id, index)
             CROSS JOIN LATERAL (
                   SELECT position, amount_minor, opener_kind, opener_id, open_time
                     FROM payments.red_packet_shares
                    WHERE corp_id = $1
                      AND red_packet_id = wanted.red_packet_id
                      AND opener_kind = wanted.opener_kind
                      AND opener_id = wanted.opener_id
                    LIMIT 1) AS share
            """,
            self._corp_id,
            [opening.red_packet_id for opening in openings],
            [opening.opener.kind for opening in openings],
            [opening.opener.id for opening in openings],
        )
        return {openings[row["index"] - 1]: _build_share(row) for row in rows}

    async def list_free_shares(self, counts: Mapping[str, int]) -> dict[str, list[FreeShare]]:
        """Return for each packet its next free shares, as many as asked for or as there are."""
        rows = await self._connection.fetch(
            """
            SELECT wanted.red_packet_id::text, share.position, share.amount_minor
              -- One of unknown length: otherwise this would be planned anew for each batch.
              FROM unnest((SELECT $2::uuid[]), $3::bigint[]) AS wanted (red_packet_id, count)
             CROSS JOIN LATERAL (
                   SELECT position, amount_minor
                     FROM payments.red_packet_shares
                    WHERE corp_id = $1
                      AND red_packet_id = wanted.red_packet_id
                      AND opener_id IS NULL
                    ORDER BY position
                    LIMIT wanted.count) AS share
             ORDER BY wanted.red_packet_id, share.position
            """,
            self._corp_id,
            list(counts),
            list(counts.values()),
        )
        free: dict[str, list[FreeShare]] = {red_packet_id: [] for red_packet_id in counts}
        for row in rows:
            free[row["red_packet_id"]].append(FreeShare(row["position"], row["amount_minor"]))
        return free

    async def give_shares(self, given: Mapping[Opening, FreeShare]) -> dt.datetime:
        """Write down who opened what; return when.

        The caller holds the locks of the packets, so that times are in the order of positions.
        """
        open_time: dt.datetime = await self._connection.fetchval("SELECT clock_timestamp()")
        await self._connection.execute(
            """
            UPDATE payments.red_packet_shares AS share
               SET opener_kind = given.opener_kind, opener_id = given.opener_id, open_time = $6
              FROM unnest($2::uuid[], $3::bigint[], $4::text[], $5::text[])
                   AS given (red_packet_id, position, opener_kind, opener_id)
             WHERE share.corp_id = $1
               AND share.red_packet_id = given.red_packet_id
               AND share.position = given.position
            """,
            self._corp_id,
            [opening.red_packet_id for opening in given],
            [share.position for share in given.values()],
            [opening.opener.kind for opening in given],
            [opening.opener.id for opening in given],
            open_time,
        )
        return open_time


def _build_share(row: Record) -> Share:
    return Share(
        position=row["position"],
        amount_minor=row["amount_minor"],
        opener=Opener(PrincipalKind(row["opener_kind"]), row["opener_id"]),
        open_time=row["open_time"],
    )
