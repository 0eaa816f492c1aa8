"""What is accepted of providers' settings and of their answers."""

import base64
import datetime as dt
import hashlib
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey

from tieline.chassis.errors import InvalidArgumentError, UnauthenticatedError, UnavailableError
from tieline.identity.providers.answers import (
    Metadata,
    ProviderFaultError,
    UserClaim,
    read_id_token,
    read_key_id,
    read_metadata,
    read_subject,
    read_user,
)
from tieline.identity.providers.client import ProviderClient
from tieline.identity.providers.guarded_http import GuardedClient, RefusedError
from tieline.identity.providers.rules import (
    Provider,
    StoredFlow,
    build_authorization_url,
    check_mask,
    check_provider,
    hash_random,
    new_flow,
    plan_update,
)

NOW = dt.datetime(2026, 2, 24, 8, 0, tzinfo=dt.UTC)
NOW_S = int(NOW.timestamp())
ISSUER = "https://login.example.org"
KEY = ECKey.generate_key("P-256", {"kid": "k1"})
KEYS = KeySet([KEY])
PROVIDER = Provider(
    provider_id="p",
    display_name="Company",
    issuer=ISSUER,
    client_id="tieline",
    user_claim=UserClaim.EMAIL,
    redirect_uris=("https://app.example.org/back",),
    is_enabled=True,
    sealed_client_secret=b"old",
    change_number=3,
)
METADATA = Metadata(f"{ISSUER}/authorize?x=1", f"{ISSUER}/token", f"{ISSUER}/jwks", False)
METHODS = "token_endpoint_auth_methods_supported"
DOCUMENT = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "jwks_uri": f"{ISSUER}/jwks",
}
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": "tieline",
    "sub": "s-1",
    "exp": NOW_S + 60,
    "iat": NOW_S,
    "nonce": "n",
}


def token(claims: dict[str, Any], key: Any = KEY, algorithm: str = "ES256") -> str:
    return jwt.encode({"alg": algorithm, "kid": "k1"}, claims, key, algorithms=[algorithm])


def read(text: str) -> Any:
    return read_id_token(text, KEYS, issuer=ISSUER, client_id="tieline", nonce="n", now=NOW)


def test_a_token_of_this_flow_is_read() -> None:
    assert read(token(CLAIMS))["sub"] == "s-1"
    assert read(token({**CLAIMS, "aud": ["tieline", "other"], "azp": "tieline"}))["sub"] == "s-1"
    assert read_key_id(token(CLAIMS)) == "k1"


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"iss": "https://evil.example.org"}, id="another issuer"),
        pytest.param({"aud": "other"}, id="for another client"),
        pytest.param({"aud": ["tieline", "other"], "azp": "other"}, id="issued to another client"),
        pytest.param({"nonce": "other"}, id="of another flow"),
        pytest.param({"nonce": None}, id="of no flow"),
        pytest.param({"exp": NOW_S - 61}, id="expired"),
        pytest.param({"exp": "tomorrow"}, id="an expiry that is none"),
        pytest.param({"iat": NOW_S + 120}, id="from the future"),
        pytest.param({"nbf": NOW_S + 120}, id="not yet good"),
    ],
)
def test_a_token_that_is_not_this_flows_is_refused(changes: dict[str, Any]) -> None:
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not None}

    with pytest.raises(ProviderFaultError):
        read(token(claims))


def unverified(header: bytes) -> str:
    return f"{base64.urlsafe_b64encode(header).decode().rstrip('=')}.e30.eA"


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "exp", "iat", "nonce"])
def test_a_token_without_a_claim_is_refused(name: str) -> None:
    claims = {other: value for other, value in CLAIMS.items() if other != name}

    with pytest.raises(ProviderFaultError):
        read(token(claims))


def test_a_token_that_nobody_signed_or_somebody_else_did_is_refused() -> None:
    header = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    unsigned = f"{header}.{token(CLAIMS).split('.')[1]}."
    other = token(CLAIMS, ECKey.generate_key("P-256"))
    public = KEY.as_pem(private=False)
    symmetric = token(CLAIMS, OctKey.import_key(hashlib.sha512(public).digest()), "HS256")

    odd = unverified(b'{"alg":"ES256","kid":"k1","crit":7}')

    for text in (unsigned, other, symmetric, odd, token(CLAIMS)[:-4], "", "a.b.c"):
        with pytest.raises(ProviderFaultError):
            read(text)


@pytest.mark.parametrize(
    "text",
    [None, 7, "", "x", "x" * 20_000, "a.b.c", unverified(b"[]")],
)
def test_what_is_no_token_has_no_key(text: object) -> None:
    with pytest.raises(ProviderFaultError):
        read_key_id(text)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"issuer": "https://evil.example.org"},
        {"issuer": ISSUER},
        {**DOCUMENT, METHODS: 7},
        {**DOCUMENT, METHODS: [7, "client_secret_basic"]},
        {**DOCUMENT, METHODS: "client_secret_basic"},
        {**DOCUMENT, METHODS: {"client_secret_basic": 1}},
    ],
)
def test_a_discovery_document_that_is_none_is_refused(document: object) -> None:
    with pytest.raises(ProviderFaultError):
        read_metadata(document, ISSUER)


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        "",
        "authorize",
        "javascript:alert(1)",
        "https://[",
        "https://\ud800/",
        "https://login.example.org:99999/",
        "https://login.example.org/" + "x" * 500,
    ],
)
def test_an_endpoint_that_is_no_url_is_refused(name: str, value: object) -> None:
    """The device is sent to one of them, and the others are called."""
    with pytest.raises(ProviderFaultError):
        read_metadata({**DOCUMENT, name: value}, ISSUER)


@pytest.mark.parametrize(
    ("changes", "is_posted"),
    [
        ({}, False),
        ({METHODS: None}, False),
        ({METHODS: ["client_secret_post", "client_secret_basic"]}, False),
        ({METHODS: ["client_secret_post"]}, True),
    ],
)
def test_the_secret_goes_into_the_body_only_where_it_must(
    changes: dict[str, object], is_posted: bool
) -> None:
    assert read_metadata({**DOCUMENT, **changes}, ISSUER).is_secret_posted is is_posted


def test_the_challenge_is_the_verifiers_hash() -> None:
    flow = new_flow()

    url = build_authorization_url(METADATA, PROVIDER, flow, PROVIDER.redirect_uris[0])

    query = parse_qs(urlsplit(url).query)
    digest = base64.urlsafe_b64encode(hashlib.sha256(flow.verifier.encode()).digest())
    assert query["code_challenge"] == [digest.decode().rstrip("=")]
    assert (query["x"], query["state"], query["nonce"]) == (["1"], [flow.state], [flow.nonce])
    assert flow.verifier not in url
    assert flow.flow_secret not in url


class RecordingHttp(GuardedClient):
    """Answers as a provider would, and keeps the form that was posted."""

    def __init__(self) -> None:
        self.posted: tuple[dict[str, str], dict[str, list[str]]] | None = None
        self.fetched: list[str] = []

    async def get_json(self, url: str) -> Any:
        self.fetched.append(url)
        if url.endswith("/jwks"):
            return KEYS.as_dict(private=False)
        return DOCUMENT

    async def post_form(self, url: str, headers: dict[str, str], body: str) -> Any:
        self.posted = (headers, parse_qs(body))
        now_s = int(dt.datetime.now(dt.UTC).timestamp())
        return {"id_token": token({**CLAIMS, "exp": now_s + 60, "iat": now_s})}


async def test_the_code_is_redeemed_with_the_verifier_and_the_secret() -> None:
    http = RecordingHttp()
    flow = StoredFlow("p", hash_random("f"), "n", b"", "https://app.example.org/back")

    claims = await ProviderClient(http).redeem(PROVIDER, "secret", flow, "the-verifier", "the-code")

    assert claims["sub"] == "s-1"
    assert http.posted is not None
    headers, form = http.posted
    assert headers["Authorization"] == "Basic " + base64.b64encode(b"tieline:secret").decode()
    assert form == {
        "grant_type": ["authorization_code"],
        "code": ["the-code"],
        "code_verifier": ["the-verifier"],
        "redirect_uri": ["https://app.example.org/back"],
    }


async def test_what_a_provider_publishes_is_fetched_once_in_ten_minutes() -> None:
    http, now = RecordingHttp(), [0.0]
    client = ProviderClient(http, clock=lambda: now[0])

    await client.get_metadata(ISSUER)
    now[0] = 599
    await client.get_metadata(ISSUER)
    assert len(http.fetched) == 2
    now[0] = 601
    await client.get_metadata(ISSUER)

    assert len(http.fetched) == 4


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://localhost/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[fd00::1]/",
        "http://192.0.2.1/",
        "http://8.8.8.8/",
        "https://0.0.0.0/",
    ],
)
async def test_a_provider_can_not_be_a_way_into_the_private_net(url: str) -> None:
    client = GuardedClient(())
    try:
        with pytest.raises(RefusedError):
            await client.get_json(url)
    finally:
        await client.close()


async def test_an_issuer_whose_host_is_no_name_is_unavailable() -> None:
    client = GuardedClient(())
    try:
        with pytest.raises(UnavailableError):
            await ProviderClient(client).get_metadata("https://xn--")
    finally:
        await client.close()


@pytest.mark.parametrize(
    ("claims", "claim", "user"),
    [
        ({"email": "a@b.org"}, UserClaim.EMAIL, "a@b.org"),
        ({"email": "a@b.org", "email_verified": True}, UserClaim.EMAIL, "a@b.org"),
        ({"email": "a@b.org", "email_verified": False}, UserClaim.EMAIL, None),
        ({"email": "a@b.org", "email_verified": "true"}, UserClaim.EMAIL, None),
        ({"preferred_username": "li"}, UserClaim.PREFERRED_USERNAME, "li"),
        ({"preferred_username": ""}, UserClaim.PREFERRED_USERNAME, None),
        ({"preferred_username": 7}, UserClaim.PREFERRED_USERNAME, None),
        ({"preferred_username": "a\0"}, UserClaim.PREFERRED_USERNAME, None),
        ({"preferred_username": "\ud800"}, UserClaim.PREFERRED_USERNAME, None),
        ({}, UserClaim.EMAIL, None),
    ],
)
def test_a_claim_names_a_user(claims: dict[str, Any], claim: UserClaim, user: str | None) -> None:
    if user is not None:
        assert read_user(claims, claim) == user
        return
    with pytest.raises(UnauthenticatedError):
        read_user(claims, claim)


@pytest.mark.parametrize("subject", [None, "", "x" * 256, 7])
def test_a_subject_is_a_short_text(subject: object) -> None:
    with pytest.raises(ProviderFaultError):
        read_subject({"sub": subject})


def test_an_update_changes_what_it_names_alone() -> None:
    wanted = Provider("", "New", "https://other.example.org", "", None, (), False)

    planned = plan_update(
        PROVIDER, wanted, frozenset({"display_name", "enabled"}), sealed_client_secret=b"old"
    )

    assert (planned.display_name, planned.is_enabled) == ("New", False)
    assert (planned.issuer, planned.client_id, planned.change_number) == (ISSUER, "tieline", 4)


def test_another_issuer_needs_the_secret_again() -> None:
    wanted = Provider("", "", "https://other.example.org", "", None, (), False)

    with pytest.raises(InvalidArgumentError, match="client_secret"):
        plan_update(PROVIDER, wanted, frozenset({"issuer"}), sealed_client_secret=b"old")
    moved = plan_update(
        PROVIDER, wanted, frozenset({"issuer", "client_secret"}), sealed_client_secret=b"new"
    )

    assert (moved.issuer, moved.sealed_client_secret) == (wanted.issuer, b"new")


@pytest.mark.parametrize(
    ("issuer", "is_good"),
    [
        (ISSUER, True),
        (f"{ISSUER}/tenant/v2.0", True),
        ("http://127.0.0.1:9400", True),
        ("http://login.example.org", False),
        (f"{ISSUER}?x=1", False),
        (f"{ISSUER}#x", False),
        ("https://user@login.example.org", False),
        ("https://", False),
        ("https://login.example.org:port", False),
        ("https://登录.example.org", False),
        ("ftp://login.example.org", False),
        (ISSUER + "/" + "x" * 512, False),
    ],
)
def test_an_issuer_is_an_https_url(issuer: str, is_good: bool) -> None:
    wanted = Provider("", "", issuer, "", None, (), True)

    if is_good:
        check_provider(wanted, None, frozenset({"issuer"}))
        return
    with pytest.raises(InvalidArgumentError, match=r"provider\.issuer"):
        check_provider(wanted, None, frozenset({"issuer"}))


@pytest.mark.parametrize("paths", [[], ["provider_id"], ["display_name", "create_time"]])
def test_an_update_names_fields_that_can_be_changed(paths: list[str]) -> None:
    with pytest.raises(InvalidArgumentError, match="update_mask"):
        check_mask(paths)
