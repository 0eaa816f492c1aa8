"""The rules of access tokens."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey

from tieline.chassis.authentication import (
    FETCH_RETRY_S,
    KEYS_MAX_AGE_S,
    KEYS_MIN_AGE_S,
    TOKEN_ALGORITHMS,
    TokenVerifier,
)
from tieline.chassis.errors import UnauthenticatedError, UnavailableError
from tieline.chassis.principals import PrincipalKind
from tieline.chassis.revocation_list import Revocation, RevocationList

NOW = 1_800_000_000
KEY = OKPKey.generate_key("Ed25519", private=True)
OTHER_KEY = OKPKey.generate_key("Ed25519", private=True)
HEADER = {"alg": "EdDSA", "kid": "k1"}

INJECTED_KEY_IDS = {
    "of a file": "../../../../dev/null",
    "of SQL": "k1' OR '1'='1",
    "of an address": "https://example.org/jwks",
    "with NUL": "k1\x00",
    "empty": "",
}


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


class Identity:
    """Publishes keys, counts how often it is asked, and can be away."""

    def __init__(self) -> None:
        self.keys = {"k1": KEY}
        self.fetches = 0
        self.is_away = False

    async def fetch_keys(self) -> Mapping[str, OKPKey]:
        self.fetches += 1
        if self.is_away:
            raise UnavailableError("SERVICE_UNAVAILABLE", "no answer")
        return dict(self.keys)


def claims(**changes: Any) -> dict[str, Any]:
    """Return a member's claims; a change to None leaves the claim out."""
    defaults = {
        "iss": "tieline",
        "aud": "tieline",
        "sub": "li.wei",
        "kind": "member",
        "corp": "wwacme",
        "roles": ["administrator"],
        "name": "李伟",
        "sid": "session-1",
        "iat": NOW,
        "nbf": NOW,
        "exp": NOW + 900,
    }
    return {name: value for name, value in {**defaults, **changes}.items() if value is not None}


def sign(key: OKPKey = KEY, header: Mapping[str, Any] = HEADER, **changes: Any) -> str:
    return jwt.encode(dict(header), claims(**changes), key, registry=TOKEN_ALGORITHMS)


def unsigned(header: object) -> str:
    return ".".join(_segment(json.dumps(part).encode()) for part in (header, claims())) + "."


def signed_with_public_key() -> str:
    """Return what a verifier that lets the token choose its algorithm would accept."""
    public = KEY.as_pem(private=False)
    return jwt.encode(
        {"alg": "HS256", "kid": "k1"}, claims(), OctKey.import_key(_as_secret(public))
    )


def _as_secret(pem: bytes) -> str:
    # joserfc itself refuses to use a PEM as a secret; base64 of it serves the test as well.
    return base64.b64encode(pem).decode()


def _segment(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def with_forged_signature(token: str) -> str:
    head, payload, signature = token.split(".")
    return ".".join([head, payload, signature[:-2] + ("AA" if signature[-2:] != "AA" else "BB")])


def with_other_payload(token: str) -> str:
    head, _, signature = token.split(".")
    payload = _segment(json.dumps(claims(roles=["owner"])).encode())
    return ".".join([head, payload, signature])


async def test_valid_token_tells_who_calls() -> None:
    identity = Identity()
    verifier = TokenVerifier(identity.fetch_keys, clock=Clock())

    principal = await verifier.verify(sign())

    assert principal.kind is PrincipalKind.MEMBER
    assert (principal.id, principal.corp_id) == ("li.wei", "wwacme")
    assert principal.roles == {"administrator"}
    assert (principal.display_name, principal.session_id) == ("李伟", "session-1")


async def test_token_of_a_linked_app_tells_where_it_is_at_home() -> None:
    verifier = TokenVerifier(Identity().fetch_keys, clock=Clock())

    principal = await verifier.verify(
        sign(kind="linked_app", sub="1000002", roles=None, home="wwhome", link="link-1")
    )

    assert (principal.kind, principal.corp_id) == (PrincipalKind.LINKED_APP, "wwacme")
    assert (principal.home_corp_id, principal.link_id) == ("wwhome", "link-1")


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        pytest.param("", "TOKEN_MISSING", id="empty"),
        pytest.param("garbage", "TOKEN_INVALID", id="no JWT"),
        pytest.param("名.字.！", "TOKEN_INVALID", id="not ASCII"),
        pytest.param(sign(name="n" * 5000), "TOKEN_INVALID", id="too long"),
        pytest.param(sign()[:-10], "TOKEN_INVALID", id="truncated"),
        pytest.param(sign().rpartition(".")[0], "TOKEN_INVALID", id="signature cut off"),
        pytest.param(with_forged_signature(sign()), "TOKEN_INVALID", id="forged signature"),
        pytest.param(with_other_payload(sign()), "TOKEN_INVALID", id="other payload"),
        pytest.param(unsigned({"alg": "none", "kid": "k1"}), "TOKEN_INVALID", id="alg none"),
        pytest.param(unsigned({"alg": "EdDSA", "kid": "k1"}), "TOKEN_INVALID", id="unsigned"),
        pytest.param(signed_with_public_key(), "TOKEN_INVALID", id="HS256 with the public key"),
        pytest.param(sign(OTHER_KEY), "TOKEN_INVALID", id="another key"),
        pytest.param(sign(header={"alg": "EdDSA"}), "TOKEN_INVALID", id="no key id"),
        pytest.param(
            sign(header={"alg": "EdDSA", "kid": "k2"}), "TOKEN_INVALID", id="unknown key id"
        ),
        pytest.param(unsigned(["EdDSA"]), "TOKEN_INVALID", id="header is a list"),
        pytest.param(unsigned(7), "TOKEN_INVALID", id="header is a number"),
        pytest.param("W1tb" * 1000 + ".e30.AA", "TOKEN_INVALID", id="header of brackets"),
        pytest.param("e30.e30." + "A" * 10_000_000, "TOKEN_INVALID", id="ten megabytes"),
        *(
            pytest.param(
                sign(OTHER_KEY, {"alg": "EdDSA", "kid": key_id}), "TOKEN_INVALID", id=f"kid {name}"
            )
            for name, key_id in INJECTED_KEY_IDS.items()
        ),
        pytest.param(
            sign(OTHER_KEY, {**HEADER, "jwk": OTHER_KEY.as_dict(private=False)}),
            "TOKEN_INVALID",
            id="brings its own key",
        ),
        pytest.param(
            sign(OTHER_KEY, {**HEADER, "jku": "https://example.org/jwks"}),
            "TOKEN_INVALID",
            id="says where its key is",
        ),
        pytest.param(sign(aud="other"), "TOKEN_INVALID", id="wrong audience"),
        pytest.param(sign(aud=["tieline"]), "TOKEN_INVALID", id="audience is a list"),
        pytest.param(sign(aud=None), "TOKEN_INVALID", id="no audience"),
        pytest.param(sign(iss="other"), "TOKEN_INVALID", id="wrong issuer"),
        pytest.param(sign(exp=NOW), "TOKEN_EXPIRED", id="expires now"),
        pytest.param(sign(exp=NOW - 1), "TOKEN_EXPIRED", id="expired"),
        pytest.param(sign(exp=None), "TOKEN_INVALID", id="never expires"),
        pytest.param(sign(exp=True), "TOKEN_INVALID", id="expiry is no number"),
        pytest.param(sign(exp=float("nan")), "TOKEN_INVALID", id="expiry is NaN"),
        pytest.param(sign(exp=10**400), "TOKEN_INVALID", id="expiry of 400 digits"),
        pytest.param(sign(iat="today"), "TOKEN_INVALID", id="time of issue is no number"),
        pytest.param(sign(exp=NOW + 7201), "TOKEN_INVALID", id="lives for more than two hours"),
        pytest.param(
            sign(iat=None, exp=NOW + 7231), "TOKEN_INVALID", id="must have been issued later"
        ),
        pytest.param(sign(nbf=NOW + 31), "TOKEN_INVALID", id="not valid yet"),
        pytest.param(sign(iat=NOW + 31), "TOKEN_INVALID", id="issued in the future"),
        pytest.param(sign(sub=""), "TOKEN_INVALID", id="no subject"),
        pytest.param(sign(sub=7), "TOKEN_INVALID", id="subject is no text"),
        pytest.param(sign(sid=None), "TOKEN_INVALID", id="no session"),
        pytest.param(sign(kind="robot"), "TOKEN_INVALID", id="unknown kind"),
        pytest.param(sign(kind=["member"]), "TOKEN_INVALID", id="kind is no text"),
        pytest.param(sign(corp=None), "TOKEN_INVALID", id="member without a corp"),
        pytest.param(sign(kind="customer"), "TOKEN_INVALID", id="customer with a corp"),
        pytest.param(sign(roles="owner"), "TOKEN_INVALID", id="roles are no list"),
        pytest.param(sign(roles=[1]), "TOKEN_INVALID", id="a role is no text"),
        pytest.param(sign(rights={"a": 1}), "TOKEN_INVALID", id="rights are no list"),
        pytest.param(sign(departments=["1"]), "TOKEN_INVALID", id="a department is no number"),
        pytest.param(sign(departments=[True]), "TOKEN_INVALID", id="a department is a boolean"),
        pytest.param(sign(kind="app", corp=None), "TOKEN_INVALID", id="app without a corp"),
        pytest.param(
            sign(kind="linked_app", link="1"), "TOKEN_INVALID", id="linked app without a home"
        ),
        pytest.param(
            sign(kind="linked_app", home="wwhome"), "TOKEN_INVALID", id="linked app without a link"
        ),
        pytest.param(
            sign(kind="app", home="wwhome", link="1"), "TOKEN_INVALID", id="app with a link"
        ),
        pytest.param(
            sign(kind="linked_app", corp=None, home="wwhome", link="1"),
            "TOKEN_INVALID",
            id="linked app let in nowhere",
        ),
    ],
)
async def test_bad_token_is_refused(token: str, reason: str) -> None:
    verifier = TokenVerifier(Identity().fetch_keys, clock=Clock())

    with pytest.raises(UnauthenticatedError) as caught:
        await verifier.verify(token)

    assert caught.value.reason == reason
    assert verifier.find_verified(token) is None


async def test_every_invalid_token_gets_the_same_text() -> None:
    verifier = TokenVerifier(Identity().fetch_keys, clock=Clock())
    texts = set()

    for token in ("garbage", sign(OTHER_KEY), sign(aud="other"), unsigned({"alg": "none"})):
        with pytest.raises(UnauthenticatedError) as caught:
            await verifier.verify(token)
        texts.add(caught.value.text)

    assert texts == {"the access token is not valid"}


async def test_second_call_with_a_token_asks_nobody() -> None:
    identity = Identity()
    verifier = TokenVerifier(identity.fetch_keys, clock=Clock())
    token = sign()
    first = await verifier.verify(token)
    identity.is_away = True

    assert verifier.find_verified(token) is first
    assert identity.fetches == 1


async def test_remembered_token_expires_on_time() -> None:
    clock = Clock()
    verifier = TokenVerifier(Identity().fetch_keys, clock=clock)
    token = sign(exp=NOW + 10)
    await verifier.verify(token)

    clock.now = NOW + 9.9
    assert verifier.find_verified(token) is not None
    clock.now = NOW + 10
    assert verifier.find_verified(token) is None


async def test_revoked_token_is_refused_at_the_next_call_and_a_newer_one_is_not() -> None:
    revocations = RevocationList(clock=Clock())
    verifier = TokenVerifier(Identity().fetch_keys, revocations, clock=Clock())
    remembered, other = sign(iat=NOW + 0.5), sign(iat=NOW + 0.6, name="another token")
    await verifier.verify(remembered)

    revocations.add(Revocation("wwacme", "session-1", NOW + 0.7))

    for token in (remembered, other):
        assert verifier.find_verified(token) is None
        with pytest.raises(UnauthenticatedError) as caught:
            await verifier.verify(token)
        assert caught.value.reason == "TOKEN_EXPIRED"
    assert (await verifier.verify(sign(iat=NOW + 0.8))).session_id == "session-1"


async def test_token_without_a_time_of_issue_counts_as_the_oldest_one() -> None:
    revocations = RevocationList(clock=Clock())
    verifier = TokenVerifier(Identity().fetch_keys, revocations, clock=Clock())
    revocations.add(Revocation("wwacme", None, NOW - 7000))

    await verifier.verify(sign(iat=None, exp=NOW + 900))
    with pytest.raises(UnauthenticatedError):
        await verifier.verify(sign(iat=None, exp=NOW + 199))


async def test_least_recently_used_token_is_forgotten_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tieline.chassis.authentication.MAX_REMEMBERED_TOKENS", 2)
    verifier = TokenVerifier(Identity().fetch_keys, clock=Clock())
    first, second, third = (sign(sid=f"session-{number}") for number in range(3))
    await verifier.verify(first)
    await verifier.verify(second)
    verifier.find_verified(first)

    await verifier.verify(third)

    assert verifier.find_verified(second) is None
    assert verifier.find_verified(first) is not None


async def test_new_key_is_fetched_when_a_token_names_it() -> None:
    clock, identity = Clock(), Identity()
    verifier = TokenVerifier(identity.fetch_keys, clock=clock)
    await verifier.verify(sign())
    identity.keys["k2"] = OTHER_KEY
    clock.now += KEYS_MIN_AGE_S + 1

    principal = await verifier.verify(sign(OTHER_KEY, {"alg": "EdDSA", "kid": "k2"}))

    assert principal.id == "li.wei"
    assert identity.fetches == 2


async def test_made_up_key_ids_ask_identity_once_in_ten_seconds() -> None:
    identity = Identity()
    verifier = TokenVerifier(identity.fetch_keys, clock=Clock())

    for number in range(20):
        with pytest.raises(UnauthenticatedError):
            await verifier.verify(sign(header={"alg": "EdDSA", "kid": f"made-up-{number}"}))

    assert identity.fetches == 1


async def test_withdrawn_key_is_trusted_for_its_age_only() -> None:
    clock, identity = Clock(), Identity()
    verifier = TokenVerifier(identity.fetch_keys, clock=clock)
    await verifier.verify(sign())
    identity.keys = {"k2": OTHER_KEY}
    clock.now += KEYS_MAX_AGE_S + 1

    assert verifier.verify_at_once(sign(sid="another session")) is None
    with pytest.raises(UnauthenticatedError):
        await verifier.verify(sign(sid="another session"))


async def test_what_is_verified_at_once_is_what_needs_no_question() -> None:
    identity, revocations = Identity(), RevocationList(clock=Clock())
    verifier = TokenVerifier(identity.fetch_keys, revocations, clock=Clock())
    revocations.add(Revocation("wwacme", "revoked", NOW + 1))
    before = verifier.verify_at_once(sign())
    await verifier.verify(sign())
    tokens = [sign(sid="another session"), with_forged_signature(sign()), sign(sid="revoked"), "x"]

    after = [verifier.verify_at_once(token) for token in tokens]

    assert before is None
    assert [None if principal is None else principal.id for principal in after] == [
        "li.wei",
        None,
        None,
        None,
    ]
    assert identity.fetches == 1


async def test_identity_away_at_first_says_unavailable_and_then_recovers() -> None:
    clock, identity = Clock(), Identity()
    identity.is_away = True
    verifier = TokenVerifier(identity.fetch_keys, clock=clock)

    with pytest.raises(UnavailableError) as caught:
        await verifier.verify(sign())
    with pytest.raises(UnavailableError):
        await verifier.verify(sign())
    identity.is_away = False
    clock.now += FETCH_RETRY_S

    assert (caught.value.reason, caught.value.metadata) == (
        "SERVICE_UNAVAILABLE",
        {"service": "identity"},
    )
    assert caught.value.retry_after_s == 1.0
    assert identity.fetches == 1
    assert (await verifier.verify(sign())).id == "li.wei"


async def test_a_remembered_token_is_trusted_no_longer_than_its_key() -> None:
    identity, clock = Identity(), Clock()
    verifier = TokenVerifier(identity.fetch_keys, clock=clock)
    token = sign(exp=NOW + 10 * KEYS_MAX_AGE_S)
    await verifier.verify(token)

    identity.keys = {"k2": OTHER_KEY}
    clock.now += KEYS_MAX_AGE_S + 1

    assert verifier.find_verified(token) is None
    with pytest.raises(UnauthenticatedError):
        await verifier.verify(token)


async def test_known_key_stays_good_while_identity_is_away() -> None:
    clock, identity = Clock(), Identity()
    verifier = TokenVerifier(identity.fetch_keys, clock=clock)
    await verifier.verify(sign())
    identity.is_away = True
    clock.now += KEYS_MAX_AGE_S + 1

    principal = await verifier.verify(sign(sid="another session", iat=NOW, exp=NOW + 7200))

    assert principal.session_id == "another session"
