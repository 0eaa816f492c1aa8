"""Access tokens of apps: a secret gives one, and with that a link gives one for the linked corp."""

import datetime as dt
import uuid
from dataclasses import replace

from tieline.chassis.authentication import token_expired_error
from tieline.chassis.authorization import LINKED_APP_RIGHTS, Resource, Right, require
from tieline.chassis.calls import find_address
from tieline.chassis.errors import ResourceExhaustedError
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.chassis.principals import Principal, PrincipalKind
from tieline.identity.apps.rules import App
from tieline.identity.apps.secrets import hash_secret
from tieline.identity.corps.rules import CorpState, is_corp_id
from tieline.identity.links.rules import (
    CorpLink,
    CorpLinkKind,
    check_lets_in,
    choose_link,
    corp_link_not_found_error,
)
from tieline.identity.repositories import (
    app_token_failures,
    apps,
    corp_links,
    corps,
    revocations,
)
from tieline.identity.sessions.access_tokens import AccessToken, AccessTokenSigner
from tieline.identity.sign_in.credentials import credentials_rejected_error

TOKEN_LIFETIME = dt.timedelta(seconds=7200)
"""What clients of the open API expect."""

# The open API's figures. A secret can't be guessed at any rate: this is about the load.
MAX_FAILURES = 2000
FAILURE_WINDOW = dt.timedelta(hours=1)


class AppTokens:
    """Gives tokens for secrets."""

    def __init__(self, pool: Pool, signer: AccessTokenSigner) -> None:
        self._pool = pool
        self._signer = signer

    async def create(
        self, corp_id: str, secret: str, agent_id: int | None
    ) -> tuple[App, AccessToken]:
        """Return the app with the secret, and a token for it."""
        address = find_address()
        await self._check_address(address)
        secret_hash = hash_secret(secret)
        if is_corp_id(corp_id) and secret_hash is not None:
            async with transaction(self._pool) as connection:
                corp = await corps.share_corp(connection, corp_id)
                grant = await apps.find_grant(connection, corp_id, secret_hash)
                if grant is not None and agent_id in (None, grant.app.agent_id):
                    # Whoever has the secret guesses nothing, whatever the state.
                    is_active = corp is not None and corp.state is CorpState.ACTIVE
                    if grant.app.fields.disabled or not is_active:
                        raise credentials_rejected_error()
                    now = await revocations.read_time(connection)
                    return grant.app, self._signer.sign(build_app(grant), now)
        async with transaction(self._pool) as connection:
            await app_token_failures.count_failure(connection, address, window=FAILURE_WINDOW)
        raise credentials_rejected_error()

    async def create_linked(
        self, caller: Principal, linked_corp_id: str, kind: CorpLinkKind | None
    ) -> tuple[CorpLink, AccessToken]:
        """Return the link that lets the calling app into the linked corp, and a token for there.

        Corps, app and link stay as they are until the token is issued: whatever voids it waits, and
        names a later time.
        """
        if not is_corp_id(linked_corp_id):
            raise corp_link_not_found_error()
        async with transaction(self._pool) as connection:
            found = {
                corp_id: await corps.share_corp(connection, corp_id)
                for corp_id in sorted({caller.corp_id, linked_corp_id})
            }
            grant = await self._find_own_grant(connection, caller)
            own, linked = found[caller.corp_id], found[linked_corp_id]
            if own is None or own.state is not CorpState.ACTIVE:
                raise token_expired_error()
            links = await corp_links.share_active_links(connection, caller.corp_id, linked_corp_id)
            link = choose_link(links, kind)
            check_lets_in(link, linked)
            now = await revocations.read_time(connection)
            return link, self._signer.sign(build_linked_app(grant, link), now)

    async def _find_own_grant(self, connection: Connection, caller: Principal) -> apps.TokenGrant:
        """Return the calling app by the secret that its token names, as it is now."""
        secret_id = uuid.UUID(caller.session_id)
        grant = await apps.share_grant(connection, caller.corp_id, secret_id)
        # The token is void then, and this replica has not heard of it yet.
        if grant is None or grant.app.fields.disabled:
            raise token_expired_error()
        require(build_app(grant), Right.READ_DIRECTORY, Resource(caller.corp_id))
        return grant

    async def _check_address(self, address: str) -> None:
        async with self._pool.acquire() as connection:
            wait = await app_token_failures.find_block_end(
                connection, address, maximum=MAX_FAILURES, window=FAILURE_WINDOW
            )
        if wait is not None:
            raise ResourceExhaustedError(
                "TOO_MANY_FAILURES",
                "too many wrong secrets came from this address",
                retry_after_s=wait.total_seconds(),
            )


def build_app(grant: apps.TokenGrant) -> Principal:
    """Return the app as a principal; its secret stands in a session's place."""
    app = grant.app
    return Principal(
        kind=PrincipalKind.APP,
        id=str(app.agent_id),
        corp_id=app.corp_id,
        session_id=str(grant.secret_id),
        display_name=app.fields.name,
        rights=frozenset(app.rights),
    )


def build_linked_app(grant: apps.TokenGrant, link: CorpLink) -> Principal:
    """Return the app as a principal in the corp that it is linked with."""
    app = build_app(grant)
    return replace(
        app,
        kind=PrincipalKind.LINKED_APP,
        corp_id=link.partner_of(app.corp_id),
        home_corp_id=app.corp_id,
        link_id=link.link_id,
        rights=app.rights & LINKED_APP_RIGHTS,
    )
