"""Sign-in by an OpenID Connect provider that runs as a process of its own."""

import asyncio
import base64
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from fakes.eventually import eventually
from integration.identity.authenticators import complete as complete_second_factor
from integration.identity.authenticators import enrol, next_code_of
from integration.identity.oidc_provider import (
    REDIRECT_URI,
    OidcProvider,
    running_provider,
    wait_for,
)
from integration.identity.test_refresh_locks import waits
from integration.identity.test_second_factor import EVERYONE, set_policy
from integration.identity.world import (
    TIMEOUT_S,
    Identity,
    Metadata,
    NewCorp,
    bearer,
    describe,
    from_address,
    refusal,
)
from tieline.api.identity.v1 import (
    identity_pb2,
    member_sign_in_service_pb2,
    second_factor_service_pb2,
    sign_in_pb2,
    sign_in_provider_service_pb2,
)

EMAIL = sign_in_pb2.PROVIDER_USER_CLAIM_EMAIL
USERNAME = sign_in_pb2.PROVIDER_USER_CLAIM_PREFERRED_USERNAME
LINKED = sign_in_pb2.PROVIDER_USER_CLAIM_LINKED_SUBJECT
SECRET = "client-secret-only-for-tests"


@pytest.fixture(scope="module")
async def provider() -> AsyncIterator[OidcProvider]:
    with running_provider() as running:
        await wait_for(running)
        yield running


def new_address() -> str:
    return f"192.0.2.{uuid.uuid4().int % 256}"


def provider_fields(issuer: str, **changes: Any) -> dict[str, Any]:
    return {
        "display_name": "Company sign-in",
        "issuer": issuer,
        "client_id": "tieline",
        "user_claim": USERNAME,
        "redirect_uris": [REDIRECT_URI],
        "enabled": True,
        **changes,
    }


async def create(
    identity: Identity,
    metadata: Metadata,
    fields: dict[str, Any],
    *,
    request_id: str = "",
    secret: str = SECRET,
) -> sign_in_pb2.SignInProvider:
    response = await identity.providers.CreateSignInProvider(
        sign_in_provider_service_pb2.CreateSignInProviderRequest(
            request_id=request_id or str(uuid.uuid4()),
            provider=sign_in_pb2.SignInProvider(**fields),
            client_secret=secret,
        ),
        metadata=metadata,
        timeout=TIMEOUT_S,
    )
    return response.provider


async def update(
    identity: Identity, corp: NewCorp, fields: dict[str, Any], paths: list[str], secret: str = ""
) -> sign_in_pb2.SignInProvider:
    request = sign_in_provider_service_pb2.UpdateSignInProviderRequest(
        provider=sign_in_pb2.SignInProvider(**fields), client_secret=secret
    )
    request.update_mask.paths.extend(paths)
    response = await identity.providers.UpdateSignInProvider(
        request, metadata=corp.owner, timeout=TIMEOUT_S
    )
    return response.provider


async def begin(
    identity: Identity, corp_id: str, provider_id: str, redirect_uri: str = REDIRECT_URI
) -> member_sign_in_service_pb2.BeginProviderSignInResponse:
    return await identity.sign_ins.BeginProviderSignIn(
        member_sign_in_service_pb2.BeginProviderSignInRequest(
            corp_id=corp_id, provider_id=provider_id, redirect_uri=redirect_uri
        ),
        metadata=from_address(new_address()),
        timeout=TIMEOUT_S,
    )


async def complete(
    identity: Identity, corp_id: str, state: str, code: str, flow_secret: str
) -> member_sign_in_service_pb2.CompleteProviderSignInResponse:
    return await identity.sign_ins.CompleteProviderSignIn(
        member_sign_in_service_pb2.CompleteProviderSignInRequest(
            corp_id=corp_id, state=state, code=code, flow_secret=flow_secret
        ),
        metadata=from_address(new_address()),
        timeout=TIMEOUT_S,
    )


async def sign_in(
    identity: Identity, provider: OidcProvider, corp: NewCorp, provider_id: str, subject: str
) -> member_sign_in_service_pb2.CompleteProviderSignInResponse:
    """Walk the whole way."""
    begun = await begin(identity, corp.corp_id, provider_id)
    state, code = await provider.visit(begun.authorization_url, subject)
    return await complete(identity, corp.corp_id, state, code, begun.flow_secret)


async def link(
    identity: Identity, provider: OidcProvider, corp: NewCorp, provider_id: str, subject: str
) -> None:
    """Tie the account at the provider to the owner."""
    begun = await begin(identity, corp.corp_id, provider_id)
    state, code = await provider.visit(begun.authorization_url, subject)
    await identity.sign_ins.LinkProviderAccount(
        member_sign_in_service_pb2.LinkProviderAccountRequest(
            state=state, code=code, flow_secret=begun.flow_secret
        ),
        metadata=corp.owner,
        timeout=TIMEOUT_S,
    )


async def test_a_member_signs_in_by_the_name_at_the_provider(
    identity: Identity, provider: OidcProvider
) -> None:
    corp = await identity.new_corp()
    identity.directory.members.add((corp.corp_id, "li.wei"))
    created = await create(identity, corp.owner, provider_fields(provider.issuer))

    response = await sign_in(identity, provider, corp, created.provider_id, "s-1")

    assert response.user_id == "li.wei"
    assert (await identity.get_corp(bearer(response.session))).corp.corp_id == corp.corp_id


async def test_a_member_signs_in_by_the_address_that_the_provider_has_verified(
    identity: Identity, provider: OidcProvider
) -> None:
    corp = await identity.new_corp()
    identity.directory.contacts[corp.corp_id, "li.wei@example.org"] = "li.wei"
    created = await create(identity, corp.owner, provider_fields(provider.issuer, user_claim=EMAIL))

    response = await sign_in(identity, provider, corp, created.provider_id, "s-1")
    unverified = await refusal(sign_in(identity, provider, corp, created.provider_id, "s-2"))
    stranger = await refusal(sign_in(identity, provider, corp, created.provider_id, "s-3"))

    assert response.user_id == "li.wei"
    assert unverified.reason == stranger.reason == "CREDENTIALS_REJECTED"


async def test_the_provider_makes_nobody_the_owner_who_has_not_linked_the_account(
    identity: Identity, provider: OidcProvider
) -> None:
    corp = await identity.new_corp()
    identity.directory.members.add((corp.corp_id, "boss"))
    by_name = await create(identity, corp.owner, provider_fields(provider.issuer))
    by_link = await create(
        identity, corp.owner, provider_fields(provider.issuer, user_claim=LINKED)
    )

    named = await refusal(sign_in(identity, provider, corp, by_name.provider_id, "s-boss"))
    unlinked = await refusal(sign_in(identity, provider, corp, by_link.provider_id, "s-boss"))
    await link(identity, provider, corp, by_link.provider_id, "s-boss")
    linked = await sign_in(identity, provider, corp, by_link.provider_id, "s-boss")

    assert named.reason == unlinked.reason == "CREDENTIALS_REJECTED"
    assert linked.user_id == "boss"


async def test_a_link_lets_nobody_back_in_who_has_left(
    identity: Identity, provider: OidcProvider
) -> None:
    """The directory is not asked by it, so that it neither works nor can be made any more."""
    corp = await identity.new_corp()
    created = await create(
        identity, corp.owner, provider_fields(provider.issuer, user_claim=LINKED)
    )
    await link(identity, provider, corp, created.provider_id, "s-boss")
    await identity.set_account_state(corp.corp_id, "boss", "left")

    entered = await refusal(sign_in(identity, provider, corp, created.provider_id, "s-boss"))
    linked = await refusal(link(identity, provider, corp, created.provider_id, "s-1"))

    assert entered.reason == linked.reason == "CREDENTIALS_REJECTED"
    rows = await identity.execute(
        "SELECT subject FROM identity.provider_links WHERE corp_id = $1", corp.corp_id
    )
    assert [row["subject"] for row in rows] == ["s-boss"]


async def test_the_provider_lets_a_member_in_again_whom_the_directory_has_again(
    identity: Identity, provider: OidcProvider
) -> None:
    """The directory is asked at each sign-in by a claim."""
    corp = await identity.new_corp()
    await identity.new_member(corp)
    created = await create(identity, corp.owner, provider_fields(provider.issuer))
    await identity.set_account_state(corp.corp_id, "li.wei", "left")

    response = await sign_in(identity, provider, corp, created.provider_id, "s-1")

    assert response.user_id == "li.wei"


async def test_an_answer_of_the_directory_that_is_older_than_the_leave_lets_nobody_back_in(
    identity: Identity, provider: OidcProvider
) -> None:
    corp = await identity.new_corp()
    await identity.new_member(corp)
    created = await create(identity, corp.owner, provider_fields(provider.issuer))
    await identity.set_account_state(corp.corp_id, "li.wei", "left")
    identity.directory.leaving.add((corp.corp_id, "li.wei"))

    error = await refusal(sign_in(identity, provider, corp, created.provider_id, "s-1"))

    assert error.reason == "CREDENTIALS_REJECTED"


async def test_a_member_who_leaves_during_the_sign_in_by_a_claim_stays_out(
    identity: Identity, provider: OidcProvider
) -> None:
    """The leave comes after the directory's answer, and before the account is locked."""
    corp = await identity.new_corp()
    await identity.new_member(corp)
    created = await create(identity, corp.owner, provider_fields(provider.issuer))
    connection = await asyncpg.connect(identity.database.admin_dsn)
    try:
        async with connection.transaction():
            await connection.execute(
                "UPDATE identity.accounts SET state = 'left'"
                " WHERE corp_id = $1 AND user_id = 'li.wei'",
                corp.corp_id,
            )
            entering = asyncio.create_task(
                sign_in(identity, provider, corp, created.provider_id, "s-1")
            )
            await eventually(lambda: waits(identity))
    finally:
        await connection.close()

    assert (await refusal(entering)).reason == "CREDENTIALS_REJECTED"


@pytest.mark.parametrize("user_id", ["administrator", "auditor"])
async def test_the_provider_makes_nobody_an_administrator_or_an_auditor(
    identity: Identity, provider: OidcProvider, user_id: str
) -> None:
    corp = await identity.new_corp()
    session = await identity.new_in_charge(corp, user_id)
    identity.directory.contacts[corp.corp_id, "li.wei@example.org"] = user_id
    created = await create(identity, corp.owner, provider_fields(provider.issuer, user_claim=EMAIL))
    await trust_providers(identity, corp)

    named = await refusal(sign_in(identity, provider, corp, created.provider_id, "s-1"))
    secret, _ = await enrol(identity, bearer(session))
    asked = await sign_in(identity, provider, corp, created.provider_id, "s-1")
    entered = await complete_second_factor(
        identity, asked.second_factor_challenge.challenge, next_code_of(secret)
    )

    assert named.reason == "CREDENTIALS_REJECTED"
    assert not asked.HasField("session")
    assert entered.session.access_token


async def test_the_policys_second_factor_is_asked_for_unless_the_providers_counts(
    identity: Identity, provider: OidcProvider
) -> None:
    corp = await identity.new_corp()
    identity.directory.members.add((corp.corp_id, "li.wei"))
    created = await create(identity, corp.owner, provider_fields(provider.issuer))
    await set_policy(identity, corp, EVERYONE)

    asked = await sign_in(identity, provider, corp, created.provider_id, "s-1")
    await trust_providers(identity, corp)
    trusted = await sign_in(identity, provider, corp, created.provider_id, "s-1")

    assert (asked.user_id, asked.HasField("session")) == ("li.wei", False)
    assert asked.second_factor_challenge.enrolment_required
    assert trusted.session.access_token
    assert not trusted.HasField("second_factor_challenge")


async def trust_providers(identity: Identity, corp: NewCorp) -> None:
    await identity.second_factors.UpdateSignInPolicy(
        second_factor_service_pb2.UpdateSignInPolicyRequest(
            policy=sign_in_pb2.SignInPolicy(
                second_factor_requirement=EVERYONE, provider_counts_as_second_factor=True
            )
        ),
        metadata=corp.owner,
        timeout=TIMEOUT_S,
    )


async def test_what_goes_to_the_provider_is_a_code_flow_with_pkce(
    identity: Identity, provider: OidcProvider
) -> None:
    corp = await identity.new_corp()
    created = await create(identity, corp.owner, provider_fields(provider.issuer))

    begun = await begin(identity, corp.corp_id, created.provider_id)

    query = parse_qs(urlsplit(begun.authorization_url).query)
    assert begun.authorization_url.startswith(f"{provider.issuer}/oauth2/authorize?")
    assert (query["response_type"], query["code_challenge_method"]) == (["code"], ["S256"])
    assert query["client_id"] == ["tieline"]
    assert query["redirect_uri"] == [REDIRECT_URI]
    assert query["scope"] == ["openid profile email"]
    assert len({*query["state"], *query["nonce"], *query["code_challenge"]}) == 3
    rows = await identity.execute(
        "SELECT f::text AS text FROM identity.provider_flows AS f WHERE corp_id = $1", corp.corp_id
    )
    assert not [row for row in rows if query["state"][0] in row["text"]]


async def test_what_does_not_fit_together_gets_one_answer(
    identity: Identity, provider: OidcProvider
) -> None:
    corp, other = await identity.new_corp(), await identity.new_corp()
    identity.directory.members.add((corp.corp_id, "li.wei"))
    created = await create(identity, corp.owner, provider_fields(provider.issuer))

    async def visited() -> tuple[str, str, str]:
        begun = await begin(identity, corp.corp_id, created.provider_id)
        return (*await provider.visit(begun.authorization_url, "s-1"), begun.flow_secret)

    state, code, flow_secret = await visited()
    late_state, late_code, late_secret = await visited()
    await complete(identity, corp.corp_id, state, code, flow_secret)
    first_state, first_code, first_secret = await visited()
    second_state, _, second_secret = await visited()
    third_state, third_code, _ = await visited()
    await identity.execute(
        "UPDATE identity.provider_flows SET expire_time = now()"
        " WHERE corp_id = $1 AND state_hash = sha256(convert_to($2, 'UTF8'))",
        corp.corp_id,
        late_state,
    )

    errors = [
        await refusal(complete(identity, corp.corp_id, state, code, flow_secret)),
        await refusal(complete(identity, corp.corp_id, late_state, late_code, late_secret)),
        await refusal(complete(identity, other.corp_id, first_state, first_code, first_secret)),
        # Another device's code: its nonce and its verifier are those of another flow.
        await refusal(complete(identity, corp.corp_id, second_state, first_code, second_secret)),
        # All is right but the device: somebody else's browser was sent to the redirect URI.
        await refusal(complete(identity, corp.corp_id, third_state, third_code, first_secret)),
        await refusal(complete(identity, corp.corp_id, "\x00", "\x00", "\x00")),
        await refusal(complete(identity, corp.corp_id, "x", "x" * 5000, "x")),
    ]

    assert {error.code for error in errors} == {"UNAUTHENTICATED"}
    assert len({str(describe(error)) for error in errors}) == 1


async def test_a_switched_off_an_unknown_and_another_corps_provider_are_not_found(
    identity: Identity, provider: OidcProvider
) -> None:
    corp, other = await identity.new_corp(), await identity.new_corp()
    off = await create(identity, corp.owner, provider_fields(provider.issuer, enabled=False))
    on = await create(identity, corp.owner, provider_fields(provider.issuer))

    errors = [
        await refusal(begin(identity, corp.corp_id, off.provider_id)),
        await refusal(begin(identity, corp.corp_id, str(uuid.uuid4()))),
        await refusal(begin(identity, other.corp_id, on.provider_id)),
        await refusal(begin(identity, "\x00", "\x00")),
    ]
    elsewhere = await refusal(
        begin(identity, corp.corp_id, on.provider_id, "https://evil.example.org/")
    )

    assert {(error.code, error.reason) for error in errors} == {("NOT_FOUND", "PROVIDER_NOT_FOUND")}
    assert list(elsewhere.violations) == ["redirect_uri"]


@pytest.mark.parametrize(
    "issuer",
    [
        pytest.param("https://10.0.0.1", id="a private address"),
        pytest.param("https://169.254.169.254", id="a cloud's metadata"),
        pytest.param("https://no-such-host.invalid", id="nobody"),
        pytest.param("http://127.0.0.1:1", id="nothing listens"),
    ],
)
async def test_a_provider_that_can_not_be_reached_is_told_apart_from_a_wrong_code(
    identity: Identity, issuer: str
) -> None:
    corp = await identity.new_corp()
    created = await create(identity, corp.owner, provider_fields(issuer))

    error = await refusal(begin(identity, corp.corp_id, created.provider_id))

    assert (error.code, error.reason) == ("UNAVAILABLE", "PROVIDER_UNAVAILABLE")
    assert error.metadata == {"issuer": issuer}
    assert error.retry_after_s


async def test_a_repeated_creation_makes_one_provider_and_no_answer_has_the_secret(
    identity: Identity, provider: OidcProvider
) -> None:
    corp = await identity.new_corp()
    request_id = str(uuid.uuid4())

    created = await asyncio.gather(
        *(
            create(identity, corp.owner, provider_fields(provider.issuer), request_id=request_id)
            for _ in range(3)
        )
    )

    assert len({each.provider_id for each in created}) == 1
    listed = await identity.providers.ListSignInProviders(
        sign_in_provider_service_pb2.ListSignInProvidersRequest(), metadata=corp.owner
    )
    assert list(listed.providers) == [created[0]]
    for table in ("sign_in_providers", "first_answers", "outbox"):
        rows = await identity.execute(
            f"SELECT t::text AS text FROM identity.{table} AS t WHERE corp_id = $1", corp.corp_id
        )
        encoded = base64.b16encode(SECRET.encode()).decode().lower()
        assert not [r for r in rows if SECRET in r["text"] or encoded in r["text"]], table


async def test_providers_are_paged_counted_changed_and_deleted(
    identity: Identity, provider: OidcProvider
) -> None:
    corp = await identity.new_corp()
    created = [
        await create(identity, corp.owner, provider_fields(provider.issuer)) for _ in range(10)
    ]
    too_many = await refusal(create(identity, corp.owner, provider_fields(provider.issuer)))

    page = await identity.providers.ListSignInProviders(
        sign_in_provider_service_pb2.ListSignInProvidersRequest(page_size=6), metadata=corp.owner
    )
    rest = await identity.providers.ListSignInProviders(
        sign_in_provider_service_pb2.ListSignInProvidersRequest(
            page_size=6, page_token=page.next_page_token
        ),
        metadata=corp.owner,
    )
    provider_id = created[0].provider_id
    changed = await update(
        identity,
        corp,
        {"provider_id": provider_id, "display_name": "New", "etag": created[0].etag},
        ["display_name"],
    )
    stale = await refusal(
        update(
            identity,
            corp,
            {"provider_id": provider_id, "display_name": "Other", "etag": created[0].etag},
            ["display_name"],
        )
    )
    delete = sign_in_provider_service_pb2.DeleteSignInProviderRequest(provider_id=provider_id)
    await identity.providers.DeleteSignInProvider(delete, metadata=corp.owner)
    again = await refusal(identity.providers.DeleteSignInProvider(delete, metadata=corp.owner))

    assert (too_many.reason, too_many.metadata) == ("TOO_MANY_PROVIDERS", {"limit": "10"})
    assert [*page.providers, *rest.providers] == created
    assert not rest.next_page_token
    assert (changed.display_name, changed.issuer) == ("New", provider.issuer)
    assert (stale.code, stale.reason) == ("ABORTED", "ETAG_MISMATCH")
    assert again.reason == "PROVIDER_NOT_FOUND"


async def test_a_stored_secret_is_never_sent_to_another_issuer(
    identity: Identity, provider: OidcProvider
) -> None:
    corp = await identity.new_corp()
    created = await create(identity, corp.owner, provider_fields(provider.issuer))
    moved = {"provider_id": created.provider_id, "issuer": "https://elsewhere.example.org"}

    error = await refusal(update(identity, corp, moved, ["issuer"]))
    changed = await update(identity, corp, moved, ["issuer", "client_secret"], "another secret")

    assert list(error.violations) == ["update_mask"]
    assert changed.issuer == "https://elsewhere.example.org"


async def test_all_wrong_fields_of_a_provider_are_named(identity: Identity) -> None:
    corp = await identity.new_corp()
    fields = provider_fields(
        "http://example.org",
        display_name="",
        client_id="\n",
        user_claim=0,
        redirect_uris=["https://app.example.org/#x", "ftp://app.example.org"],
    )

    error = await refusal(create(identity, corp.owner, fields, secret=""))
    unnamed = await refusal(update(identity, corp, {"provider_id": str(uuid.uuid4())}, []))

    assert set(error.violations) == {
        "provider.display_name",
        "provider.issuer",
        "provider.client_id",
        "provider.user_claim",
        "provider.redirect_uris[0]",
        "provider.redirect_uris[1]",
        "client_secret",
    }
    assert list(unnamed.violations) == ["update_mask"]


async def test_members_keep_no_providers(identity: Identity, provider: OidcProvider) -> None:
    corp = await identity.new_corp()
    member: identity_pb2.Session = await identity.new_member(corp)

    error = await refusal(create(identity, bearer(member), provider_fields(provider.issuer)))

    assert error.reason == "CALLER_NOT_ALLOWED"
    assert json.dumps(dict(error.metadata))
