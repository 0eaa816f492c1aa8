"""Tokens that stay fresh."""

import asyncio
import dataclasses
import datetime as dt

import grpc
import pytest

from fakes.eventually import eventually
from fakes.tokens import TestTokens
from tieline.client.credentials import Credentials, SessionTokens
from tieline.client.errors import TielineError

START = dt.datetime(2026, 2, 24, 8, 0, tzinfo=dt.UTC)
LIFETIME = dt.timedelta(minutes=15)


class FakeIdentity:
    """Gives tokens numbered from 1, by a clock that the test moves."""

    def __init__(self) -> None:
        self.now = START
        self.refresh_tokens: list[str] = []
        self.failure: TielineError | None = None
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    def clock(self) -> dt.datetime:
        return self.now

    def tokens(self, number: int) -> SessionTokens:
        return SessionTokens(
            "session",
            f"access-{number}",
            self.now + LIFETIME,
            f"refresh-{number}",
            self.now + dt.timedelta(days=30),
        )

    async def refresh(self, tokens: SessionTokens) -> SessionTokens:
        self.refresh_tokens.append(tokens.refresh_token)
        await self.may_answer.wait()
        if self.failure is not None:
            raise self.failure
        return self.tokens(len(self.refresh_tokens) + 1)


def sign_in(
    identity: FakeIdentity, kept: list[SessionTokens] | None = None
) -> Credentials[SessionTokens]:
    on_tokens = None if kept is None else kept.append
    return Credentials(
        identity.tokens(1), identity.refresh, on_tokens=on_tokens, clock=identity.clock
    )


async def test_fresh_token_is_given_without_asking_anybody() -> None:
    identity = FakeIdentity()
    credentials = sign_in(identity)

    assert await credentials.access_token() == "access-1"
    assert identity.refresh_tokens == []


async def test_calls_that_find_the_token_over_share_one_refresh_and_get_the_new_one() -> None:
    identity = FakeIdentity()
    kept: list[SessionTokens] = []
    credentials = sign_in(identity, kept)
    identity.now += LIFETIME

    given = await asyncio.gather(*(credentials.access_token() for _ in range(50)))

    assert set(given) == {"access-2"}
    assert identity.refresh_tokens == ["refresh-1"]
    assert [tokens.refresh_token for tokens in kept] == ["refresh-2"]


async def test_token_is_refreshed_ahead_of_its_end_without_delaying_the_call() -> None:
    identity = FakeIdentity()
    credentials = sign_in(identity)
    identity.now += LIFETIME - dt.timedelta(seconds=59)
    identity.may_answer.clear()

    given = await asyncio.wait_for(credentials.access_token(), timeout=10)

    assert given == "access-1"
    identity.may_answer.set()
    await eventually(lambda: credentials.tokens.access_token == "access-2")


async def test_each_refresh_uses_the_latest_refresh_token() -> None:
    identity = FakeIdentity()
    credentials = sign_in(identity)
    for _ in range(3):
        identity.now += LIFETIME
        await credentials.access_token()

    assert identity.refresh_tokens == ["refresh-1", "refresh-2", "refresh-3"]


async def test_expired_answer_leads_to_one_refresh_however_many_calls_report_it() -> None:
    identity = FakeIdentity()
    credentials = sign_in(identity)

    credentials.note_expired("access-1")
    assert await credentials.access_token() == "access-2"
    credentials.note_expired("access-1")

    assert await credentials.access_token() == "access-2"
    assert identity.refresh_tokens == ["refresh-1"]


async def test_failed_refresh_ahead_of_time_keeps_the_good_token() -> None:
    identity = FakeIdentity()
    credentials = sign_in(identity)
    identity.failure = TielineError(grpc.StatusCode.UNAVAILABLE, "away")
    identity.now += LIFETIME - dt.timedelta(seconds=30)
    assert await credentials.access_token() == "access-1"
    await eventually(lambda: len(identity.refresh_tokens) == 1)

    assert await credentials.access_token() == "access-1"


async def test_ended_session_is_told_to_every_caller_that_waits() -> None:
    identity = FakeIdentity()
    credentials = sign_in(identity)
    identity.failure = TielineError(grpc.StatusCode.UNAUTHENTICATED, "over", reason="SESSION_ENDED")
    identity.now += LIFETIME

    results = await asyncio.gather(
        *(credentials.access_token() for _ in range(3)), return_exceptions=True
    )

    assert [getattr(result, "reason", None) for result in results] == ["SESSION_ENDED"] * 3


async def test_cancelled_caller_does_not_take_the_refresh_away_from_others() -> None:
    identity = FakeIdentity()
    credentials = sign_in(identity)
    identity.now += LIFETIME
    identity.may_answer.clear()
    impatient = asyncio.create_task(credentials.access_token())
    patient = asyncio.create_task(credentials.access_token())
    await eventually(lambda: identity.refresh_tokens)

    impatient.cancel()
    await asyncio.wait([impatient])
    identity.may_answer.set()

    assert await patient == "access-2"
    assert identity.refresh_tokens == ["refresh-1"]


async def test_clock_that_is_ahead_of_the_services_does_not_refresh_on_every_call() -> None:
    identity = FakeIdentity()
    credentials = sign_in(identity)
    clock_is_ahead_by = dt.timedelta(days=1)
    real_now = identity.clock
    credentials = Credentials(
        identity.tokens(1), identity.refresh, clock=lambda: real_now() + clock_is_ahead_by
    )

    for _ in range(5):
        await credentials.access_token()

    assert identity.refresh_tokens == ["refresh-1"]


@pytest.mark.parametrize("form", [repr, str])
def test_text_of_tokens_shows_none(form: type) -> None:
    tokens = FakeIdentity().tokens(1)

    text = str(form(tokens))

    assert "session" in text
    assert "access-1" not in text
    assert "refresh-1" not in text


def test_parties_of_one_corp_are_known_by_their_tokens() -> None:
    signer = TestTokens()
    given = [
        signer.member("wwacme", "li.wei"),
        signer.administrator("wwacme"),
        signer.customer("wm1"),
    ]
    assert [_with(token).corp for token in given] == ["wwacme", "wwacme", ""]


@pytest.mark.parametrize("token", ["", "opaque", "a.b.c", "a.W10.c", "a.!.c", "a.\ud800.c"])
def test_whose_token_can_not_be_read_shares_its_corp_with_nobody(token: str) -> None:
    assert _with(token).corp != _with(token).corp


def _with(token: str) -> Credentials[SessionTokens]:
    identity = FakeIdentity()
    tokens = dataclasses.replace(identity.tokens(1), access_token=token)
    return Credentials(tokens, identity.refresh, clock=identity.clock)
