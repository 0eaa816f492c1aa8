"""Accounts of members whom the directory names, and the event that tells it of a first sign-in."""

from tieline.api.identity.v1 import identity_pb2
from tieline.chassis.outbox import Event, build_event, insert_events
from tieline.chassis.postgres import Connection
from tieline.identity.repositories import SCHEMA, accounts
from tieline.identity.repositories.accounts import Account


async def activate(connection: Connection, key: tuple[str, str], *, may_rejoin: bool) -> Account:
    """Return the account of somebody whom the directory has named, made where it is missing.

    One whose member had left is active again only where the directory was asked just now
    (``may_rejoin``); otherwise it is returned as ``left``, which no way in lets pass.
    """
    account, is_new = await accounts.activate_account(connection, *key, may_rejoin=may_rejoin)
    if is_new:
        await insert_events(connection, SCHEMA, [build_activated_event(*key)])
    return account


def build_activated_event(corp_id: str, user_id: str) -> Event:
    """Return the event; insert it in the transaction that makes or activates the account."""
    # A key of its own: the account's row is locked, the corp's is not.
    return build_event(
        "tieline.identity.v1.member_activated",
        corp_id,
        f"members/{corp_id}/{user_id}",
        identity_pb2.MemberActivated(corp_id=corp_id, user_id=user_id),
    )
