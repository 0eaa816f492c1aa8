"""Access tokens of apps: a secret gives one, and nothing else does."""

import datetime as dt

from tieline.chassis.errors import ResourceExhaustedError
from tieline.chassis.postgres import Pool, transaction
from tieline.chassis.principals import Principal, PrincipalKind
from tieline.identity.access_tokens import AccessToken, AccessTokenSigner
from tieline.identity.app_secrets import hash_secret
from tieline.identity.apps import App
from tieline.identity.corps import CorpState, is_corp_id
from tieline.identity.credentials import credentials_rejected_error
from tieline.identity.repositories import app_token_failures, apps, corps, revocations
from tieline.identity.session_issuer import find_address

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
