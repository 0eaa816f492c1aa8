"""Signing keys and the tokens they sign."""

import datetime as dt
from dataclasses import replace

import pytest

from tieline.chassis.authentication import TokenVerifier
from tieline.chassis.errors import UnauthenticatedError
from tieline.chassis.principals import Principal, PrincipalKind
from tieline.identity.keyring import build_keyring
from tieline.identity.sessions.access_tokens import AccessTokenSigner
from tieline.identity.signing_keys.rules import (
    PublicKey,
    SealBrokenError,
    SealedKey,
    build_sealed_key,
    open_sealed_key,
    read_public_keys,
)

SEAL_KEY = b"k" * 32
NOW = dt.datetime(2026, 2, 24, 9, 30, 15, 600_000, tzinfo=dt.UTC)
LIFETIME = dt.timedelta(minutes=15)

PRINCIPALS = [
    Principal(
        PrincipalKind.MEMBER, "li.wei", "ww1", "s1", frozenset({"owner"}), display_name="李伟"
    ),
    Principal(PrincipalKind.CUSTOMER, "wm1", "", "s2", display_name="Ms Chen"),
    Principal(PrincipalKind.PLATFORM_ADMINISTRATOR, "platform", "", "s3"),
]


def signer(key: SealedKey) -> AccessTokenSigner:
    private_key = open_sealed_key(key, SEAL_KEY)
    return AccessTokenSigner(lambda _: (key.key_id, private_key), lifetime=LIFETIME)


def verifier(key: SealedKey, *, now: dt.datetime) -> TokenVerifier:
    async def fetch_keys() -> dict[str, object]:
        return dict(read_public_keys([PublicKey(key.key_id, key.public_key)]))

    return TokenVerifier(fetch_keys, clock=now.timestamp)  # type: ignore[arg-type]


@pytest.mark.parametrize("principal", PRINCIPALS, ids=lambda principal: principal.kind.value)
async def test_services_read_from_a_token_who_it_was_signed_for(principal: Principal) -> None:
    key = build_sealed_key(SEAL_KEY, NOW)

    token = signer(key).sign(principal, NOW)

    assert await verifier(key, now=NOW).verify(token.text) == principal


async def test_a_token_ends_when_its_caller_was_told() -> None:
    key = build_sealed_key(SEAL_KEY, NOW)

    token = signer(key).sign(PRINCIPALS[0], NOW)

    assert token.expire_time == NOW.replace(microsecond=0) + LIFETIME
    second = dt.timedelta(seconds=1)
    await verifier(key, now=token.expire_time - second).verify(token.text)
    with pytest.raises(UnauthenticatedError):
        await verifier(key, now=token.expire_time).verify(token.text)


def test_a_stored_key_does_not_show_the_private_key() -> None:
    key = build_sealed_key(SEAL_KEY, NOW)

    private_key = open_sealed_key(key, SEAL_KEY).private_key

    assert private_key is not None
    raw = private_key.private_bytes_raw()
    assert raw not in key.sealed_private_key
    assert "sealed_private_key" not in repr(key)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"sealed_private_key": bytes(60)}, id="another text"),
        pytest.param({"sealed_private_key": b""}, id="nothing"),
        pytest.param({"key_id": "other"}, id="under another key's id"),
    ],
)
def test_a_stored_key_that_was_changed_is_not_opened(change: dict[str, bytes]) -> None:
    key = replace(build_sealed_key(SEAL_KEY, NOW), **change)  # type: ignore[arg-type]

    with pytest.raises(SealBrokenError):
        open_sealed_key(key, SEAL_KEY)


def test_another_secret_does_not_open_a_stored_key() -> None:
    key = build_sealed_key(SEAL_KEY, NOW)

    with pytest.raises(SealBrokenError):
        open_sealed_key(key, b"o" * 32)


def test_no_two_purposes_share_a_key() -> None:
    keyring = build_keyring("s" * 32)
    keys = [
        keyring.password_pepper,
        keyring.invitation_codes,
        keyring.refresh_tokens,
        keyring.signing_key_seal,
    ]

    assert len(set(keys)) == len(keys)
    assert keyring != build_keyring("t" * 32)
    assert repr(keyring) == "Keyring()"
