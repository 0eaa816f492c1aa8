"""Payments' values as protobuf messages and events."""

from collections.abc import Sequence

from tieline.api.common.v1 import principal_pb2
from tieline.api.payments.v1 import payments_pb2
from tieline.chassis.fields import to_timestamp
from tieline.chassis.outbox import Event, build_event
from tieline.chassis.principals import PrincipalKind
from tieline.payments.red_packets import Opener, Opening, RedPacket, Share
from tieline.payments.split import build_commitment

RED_PACKET_CREATED = "tieline.payments.v1.red_packet_created"
RED_PACKET_OPENED = "tieline.payments.v1.red_packet_opened"

_KINDS = {
    PrincipalKind.MEMBER: principal_pb2.PRINCIPAL_KIND_MEMBER,
    PrincipalKind.CUSTOMER: principal_pb2.PRINCIPAL_KIND_CUSTOMER,
}


def to_principal_ref(who: Opener) -> principal_pb2.PrincipalRef:
    """Return the name of a member or customer."""
    return principal_pb2.PrincipalRef(kind=_KINDS[who.kind], id=who.id)


def to_share(share: Share) -> payments_pb2.RedPacketShare:
    """Return an opened share."""
    return payments_pb2.RedPacketShare(
        opener=to_principal_ref(share.opener),
        amount_minor=share.amount_minor,
        open_time=to_timestamp(share.open_time),
    )


def to_red_packet(packet: RedPacket, shares: Sequence[Share]) -> payments_pb2.RedPacket:
    """Return a packet of which ``shares`` are opened; with its seed if these are all of them."""
    return payments_pb2.RedPacket(
        red_packet_id=packet.red_packet_id,
        conversation_id=packet.conversation_id,
        sender_user_id=packet.sender_user_id,
        amount_minor=packet.amount_minor,
        currency_code=packet.currency_code,
        share_count=packet.share_count,
        opened_count=len(shares),
        opened_amount_minor=sum(share.amount_minor for share in shares),
        greeting=packet.greeting,
        create_time=to_timestamp(packet.create_time),
        split_commitment=build_commitment(packet.split_seed),
        # Whoever knows the seed knows what each next share holds, and waits for the largest.
        split_seed=packet.split_seed if len(shares) == packet.share_count else b"",
    )


def build_created_event(corp_id: str, packet: payments_pb2.RedPacket) -> Event:
    """Build the event of a new packet."""
    message = payments_pb2.RedPacketCreated(corp_id=corp_id, red_packet=packet)
    return build_event(RED_PACKET_CREATED, corp_id, packet.red_packet_id, message)


def build_opened_event(opening: Opening, share: Share) -> Event:
    """Build the event of an opened share."""
    message = payments_pb2.RedPacketOpened(
        corp_id=opening.corp_id, red_packet_id=opening.red_packet_id, share=to_share(share)
    )
    return build_event(
        RED_PACKET_OPENED,
        opening.corp_id,
        opening.red_packet_id,
        message,
        cause=opening.cause,
    )
