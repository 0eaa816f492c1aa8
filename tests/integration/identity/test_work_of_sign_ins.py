"""What a sign-in and a refresh cost, counted: statements and passwords, not time.

Nobody learns from the work whether an account exists: a wrong password and an unknown account are
the same statements and the same hashing.
"""

import datetime as dt
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import argon2
import pytest

from integration.identity.world import PASSWORD, Identity
from tieline.chassis.calls import Call, entered
from tieline.chassis.errors import UnauthenticatedError
from tieline.chassis.health import Health
from tieline.chassis.postgres import Pool, create_pool
from tieline.identity.audit.refusals import Refusals
from tieline.identity.keyring import build_keyring
from tieline.identity.passwords.hashing import PasswordHasher, PasswordPool
from tieline.identity.repositories.sessions import SessionLimits
from tieline.identity.second_factors.challenges import Challenges
from tieline.identity.sessions.access_tokens import AccessTokenSigner
from tieline.identity.sessions.devices import UNKNOWN_DEVICE
from tieline.identity.sessions.issuer import SessionIssuer
from tieline.identity.sessions.refresh_tokens import RefreshTokens
from tieline.identity.sign_in.attempts import Attempts
from tieline.identity.sign_in.entrance import Entrance
from tieline.identity.sign_in.flows import SignIn
from tieline.identity.sign_in.policies import SignInPolicy
from tieline.identity.signing_keys.rotation import SigningKeys

# BEGIN and COMMIT are statements too.
SIGN_IN_STATEMENTS = 10
REFRESH_STATEMENTS = 4


@dataclass
class CountingPool:
    """The service's pool, which also writes down each statement."""

    pool: Pool
    statements: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def acquire(self, *, spares_reset: bool = False) -> AsyncIterator[Any]:
        async with self.pool.acquire(spares_reset=spares_reset) as connection:
            connection.add_query_logger(self._note)
            try:
                yield connection
            finally:
                connection.remove_query_logger(self._note)

    def wake(self, schema: str) -> None:
        self.pool.wake(schema)

    def _note(self, query: Any) -> None:
        self.statements.append(re.sub(r"\s+", " ", query.query).strip())

    def take(self) -> list[str]:
        taken, self.statements[:] = list(self.statements), []
        return taken


class CountingHasher(PasswordHasher):
    """Counts what is compared, and the passes that each comparison takes."""

    compared: int = 0
    passes: int = 0

    def _compare(self, password_hash: str, password: str) -> bool:
        self.compared += 1
        self.passes += argon2.extract_parameters(password_hash).time_cost
        return super()._compare(password_hash, password)


@dataclass
class Entry:
    """The ways in of a replica of its own, counted."""

    sign_in: SignIn
    pool: CountingPool
    hasher: CountingHasher


@pytest.fixture
async def entry(identity: Identity) -> AsyncIterator[Entry]:
    settings = identity.settings
    keyring = build_keyring(settings.secret_key.get_secret_value())
    hasher = CountingHasher(
        keyring.password_pepper,
        time_cost=settings.password_time_cost,
        memory_kib=settings.password_memory_kib,
        parallelism=settings.password_parallelism,
    )
    async with (
        create_pool(
            settings.database_dsn.get_secret_value(),
            service="identity",
            max_size=1,
            health=Health(),
        ) as pool,
        PasswordPool(hasher, threads=1, queue_length=8) as passwords,
    ):
        counting: Any = CountingPool(pool)
        keys = SigningKeys(pool, keyring.signing_key_seal, lifetime=dt.timedelta(days=30))
        await keys.refresh()
        issuer = SessionIssuer(
            AccessTokenSigner(keys.find_key, lifetime=dt.timedelta(minutes=15)),
            RefreshTokens(keyring.refresh_tokens),
            SessionLimits(dt.timedelta(days=30), dt.timedelta(days=365)),
        )
        challenges = Challenges(keyring.second_factor_challenges)
        entrance = Entrance(issuer, challenges, SignInPolicy())
        refusals = Refusals(pool)
        attempts = Attempts(keyring.sign_in_tallies)
        sign_in = SignIn(counting, passwords, issuer, entrance, attempts, refusals)
        with entered(Call("test", "request")):
            yield Entry(sign_in, counting, hasher)
        await refusals.finish()


async def test_a_sign_in_and_a_refresh_take_few_statements(
    identity: Identity, entry: Entry
) -> None:
    corp = await identity.new_corp()
    # The first sign-in also learns the address.
    await entry.sign_in.sign_in_member(corp.corp_id, "boss", PASSWORD, UNKNOWN_DEVICE)
    entry.pool.take()

    opened = await entry.sign_in.sign_in_member(corp.corp_id, "boss", PASSWORD, UNKNOWN_DEVICE)
    of_sign_in = entry.pool.take()
    assert opened.session is not None
    await entry.sign_in.refresh(opened.session.refresh_token)
    of_refresh = entry.pool.take()

    assert len(of_sign_in) <= SIGN_IN_STATEMENTS, "\n".join(of_sign_in)
    assert len(of_refresh) <= REFRESH_STATEMENTS, "\n".join(of_refresh)


async def test_an_unknown_account_is_the_same_work_as_a_wrong_password(
    identity: Identity, entry: Entry
) -> None:
    corp = await identity.new_corp()
    work = []
    # The driver learns the types of a new connection.
    with pytest.raises(UnauthenticatedError):
        await entry.sign_in.sign_in_member(corp.corp_id, "first", "wrong pass", UNKNOWN_DEVICE)
    entry.pool.take()

    for corp_id, user_id in (
        (corp.corp_id, "boss"),
        (corp.corp_id, "nobody"),
        ("ww" + "0" * 24, "boss"),
    ):
        before = entry.hasher.compared
        with pytest.raises(UnauthenticatedError):
            await entry.sign_in.sign_in_member(corp_id, user_id, "wrong pass", UNKNOWN_DEVICE)
        work.append((entry.pool.take(), entry.hasher.compared - before))

    assert work[0][1] == 1
    assert work[1] == work[0]
    assert work[2] == work[0]


@pytest.mark.parametrize(
    ("user_id", "passes"),
    [
        pytest.param("boss", 7, id="known, of the settings of before"),
        pytest.param("li.wei", 1, id="known, of the settings of now"),
        pytest.param("invited", 1, id="known, without a password yet"),
        pytest.param("anybody", 7, id="unknown, before the first"),
        pytest.param("kong", 1, id="unknown, between them"),
        pytest.param("zhao", 7, id="unknown, after the last"),
    ],
)
async def test_accounts_that_do_not_exist_take_the_work_of_those_that_do(
    identity: Identity, entry: Entry, user_id: str, passes: int
) -> None:
    corp = await identity.new_corp()
    await identity.new_member(corp, "li.wei")
    await identity.execute(
        "INSERT INTO identity.accounts (corp_id, user_id, role) VALUES ($1, 'invited', 'member')",
        corp.corp_id,
    )
    keyring = build_keyring(identity.settings.secret_key.get_secret_value())
    older = PasswordHasher(keyring.password_pepper, time_cost=7, memory_kib=64, parallelism=1)
    await identity.execute(
        "UPDATE identity.accounts SET password_hash = $2 WHERE corp_id = $1 AND user_id = 'boss'",
        corp.corp_id,
        older.hash(PASSWORD),
    )

    with pytest.raises(UnauthenticatedError):
        await entry.sign_in.sign_in_member(corp.corp_id, user_id, "wrong pass", UNKNOWN_DEVICE)

    assert (entry.hasher.compared, entry.hasher.passes) == (1, passes)


async def test_the_password_of_the_next_account_lets_nobody_in(
    identity: Identity, entry: Entry
) -> None:
    corp = await identity.new_corp()

    with pytest.raises(UnauthenticatedError):
        await entry.sign_in.sign_in_member(corp.corp_id, "anybody", PASSWORD, UNKNOWN_DEVICE)


async def test_a_platform_administrator_who_does_not_exist_takes_the_work_of_one_who_does(
    identity: Identity, entry: Entry
) -> None:
    keyring = build_keyring(identity.settings.secret_key.get_secret_value())
    older = PasswordHasher(keyring.password_pepper, time_cost=7, memory_kib=64, parallelism=1)
    await identity.execute(
        "INSERT INTO identity.platform_administrators (name, password_hash) VALUES ('zhao', $1)",
        older.hash(PASSWORD),
    )

    passes = {}
    for name in ("platform", "zhao", "nobody", "yu"):
        before = entry.hasher.passes
        with pytest.raises(UnauthenticatedError):
            await entry.sign_in.sign_in_platform_administrator(name, "wrong pass", UNKNOWN_DEVICE)
        passes[name] = entry.hasher.passes - before
    await identity.execute("DELETE FROM identity.platform_administrators WHERE name = 'zhao'")

    assert passes == {"platform": 1, "zhao": 7, "nobody": 1, "yu": 7}
