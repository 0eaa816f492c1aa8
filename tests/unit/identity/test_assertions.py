"""What a channel may say about a person."""

import base64
import datetime as dt
import json
from typing import Any

import pytest
from joserfc import jws, jwt
from joserfc.jwk import OctKey, OKPKey

from tieline.chassis.authentication import TOKEN_ALGORITHMS, build_public_key
from tieline.chassis.errors import UnauthenticatedError
from tieline.identity.sign_in.assertions import Assertion, read_assertion, read_channel_id

NOW = dt.datetime(2026, 2, 24, tzinfo=dt.UTC)
NOW_S = int(NOW.timestamp())
CHANNEL = "channel-1"
KEY = OKPKey.generate_key("Ed25519")
PUBLIC_BYTES = KEY.public_key.public_bytes_raw()
PUBLIC_KEY = build_public_key(PUBLIC_BYTES)
ABSENT = object()


def assertion(key: OKPKey = KEY, **changes: Any) -> str:
    claims: dict[str, Any] = {
        "iss": CHANNEL,
        "aud": "tieline",
        "sub": "openid-1",
        "name": "陈女士",
        "jti": "j1",
        "exp": NOW_S + 60,
        **changes,
    }
    claims = {name: value for name, value in claims.items() if value is not ABSENT}
    # Not jwt.encode, which refuses to sign some of what a hostile channel could.
    payload = json.dumps(claims).encode()
    return jws.serialize_compact({"alg": "EdDSA"}, payload, key, registry=TOKEN_ALGORITHMS)


def encode_raw(header: object, payload: bytes, signature: bytes = b"s" * 64) -> str:
    parts = [json.dumps(header).encode(), payload, signature]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def read(text: str) -> Assertion:
    return read_assertion(text, read_channel_id(text), PUBLIC_KEY, NOW)


def test_an_assertion_says_who_the_person_is() -> None:
    assert read(assertion()) == Assertion(
        CHANNEL, "openid-1", "陈女士", "j1", NOW + dt.timedelta(seconds=60)
    )


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"exp": NOW_S + 300}, id="five minutes ahead"),
        pytest.param({"exp": NOW_S + 1}, id="one second left"),
        pytest.param({"sub": "x" * 128}, id="subject of 128 bytes"),
        pytest.param({"name": "字" * 64}, id="name of 64 characters"),
        pytest.param({"name": "👨‍👩‍👧 Li"}, id="name with a joined emoji"),
        pytest.param({"iat": NOW_S, "nbf": NOW_S}, id="with iat and nbf"),
        pytest.param({"nbf": NOW_S + 30}, id="clock a little ahead"),
    ],
)
def test_an_assertion_within_its_bounds_is_read(changes: dict[str, Any]) -> None:
    read(assertion(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"iss": ABSENT}, id="no issuer"),
        pytest.param({"iss": "\x00"}, id="NUL as issuer"),
        pytest.param({"aud": "other"}, id="another audience"),
        pytest.param({"aud": ["tieline", "other"]}, id="two audiences"),
        pytest.param({"aud": ABSENT}, id="no audience"),
        pytest.param({"sub": ABSENT}, id="no subject"),
        pytest.param({"sub": ""}, id="empty subject"),
        pytest.param({"sub": "字" * 43}, id="subject of 129 bytes"),
        pytest.param({"sub": "a\x00b"}, id="NUL in the subject"),
        pytest.param({"sub": 17}, id="subject is a number"),
        pytest.param({"sub": "\ud800"}, id="half a surrogate pair"),
        pytest.param({"name": ABSENT}, id="no name"),
        pytest.param({"name": "字" * 65}, id="name of 65 characters"),
        pytest.param({"jti": ABSENT}, id="no jti"),
        pytest.param({"jti": "x" * 129}, id="jti of 129 characters"),
        pytest.param({"exp": ABSENT}, id="no expiry"),
        pytest.param({"exp": NOW_S}, id="expired"),
        pytest.param({"exp": NOW_S + 301}, id="more than five minutes ahead"),
        pytest.param({"exp": True}, id="expiry is a boolean"),
        pytest.param({"exp": str(NOW_S + 60)}, id="expiry is a text"),
        pytest.param({"exp": float("nan")}, id="expiry is not a number"),
        pytest.param({"exp": 10**400}, id="expiry of 400 digits"),
        pytest.param({"nbf": NOW_S + 31}, id="not good yet"),
        pytest.param({"iat": NOW_S + 31}, id="issued in the future"),
    ],
)
def test_an_assertion_beyond_its_bounds_is_rejected(changes: dict[str, Any]) -> None:
    with pytest.raises(UnauthenticatedError) as caught:
        read(assertion(**changes))

    assert caught.value.reason == "CREDENTIALS_REJECTED"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("a.b", id="two parts"),
        pytest.param("é.é.é", id="not ASCII"),
        pytest.param("x" * 5000, id="too long"),
        pytest.param(encode_raw({"alg": "EdDSA"}, b"[" * 2500), id="deeply nested"),
        pytest.param(encode_raw({"alg": "EdDSA"}, b"[]"), id="payload is a list"),
        pytest.param(encode_raw({"alg": "EdDSA"}, b"\xff"), id="payload is no text"),
        pytest.param(encode_raw({"alg": "none"}, b'{"iss":"channel-1"}', b""), id="alg none"),
        pytest.param(encode_raw({"alg": "EdDSA"}, b'{"iss":"channel-1"}'), id="made-up signature"),
        pytest.param(assertion(OKPKey.generate_key("Ed25519")), id="another key"),
        pytest.param(
            jwt.encode(
                {"alg": "HS256"},
                {"iss": CHANNEL, "aud": "tieline", "sub": "x", "name": "x", "jti": "j"},
                OctKey.import_key(PUBLIC_BYTES),
            ),
            id="HMAC with the public key",
        ),
    ],
)
def test_what_the_channel_did_not_sign_is_rejected(text: str) -> None:
    with pytest.raises(UnauthenticatedError) as caught:
        read(text)

    assert caught.value.reason == "CREDENTIALS_REJECTED"


def test_an_assertion_of_another_channel_is_rejected_even_with_this_ones_key() -> None:
    text = assertion(iss="channel-2")

    with pytest.raises(UnauthenticatedError):
        read_assertion(text, CHANNEL, PUBLIC_KEY, NOW)
