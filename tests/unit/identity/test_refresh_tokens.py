"""The form of refresh tokens, and what using one does."""

import base64
import datetime as dt
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.chassis.ids import new_uuid7
from tieline.identity.sessions.refresh_tokens import (
    Refresh,
    RefreshState,
    RefreshToken,
    RefreshTokens,
    decide_refresh,
    new_seed,
)

NOW = dt.datetime(2026, 2, 24, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
SEED = b"s" * 16
TOKEN = RefreshToken.first("ww1", new_uuid7(), SEED)
TOKENS = RefreshTokens(b"k" * 32)


def state(
    *,
    generation: int = 5,
    age: dt.timedelta = dt.timedelta(hours=1),
    expire_time: dt.datetime = NOW + SECOND,
    end_time: dt.datetime | None = None,
    seed: bytes = SEED,
) -> RefreshState:
    seed_hash = replace(TOKEN, seed=seed).seed_hash
    return RefreshState(seed_hash, generation, NOW - age, expire_time, end_time, NOW)


def token(generation: int) -> RefreshToken:
    return replace(TOKEN, generation=generation)


@pytest.mark.parametrize("corp_id", ["ww1", ""])
def test_what_is_encoded_is_decoded(corp_id: str) -> None:
    original = RefreshToken.first(corp_id, new_uuid7(), new_seed()).next()

    assert TOKENS.decode(TOKENS.encode(original)) == original


def test_a_generation_has_the_same_text_each_time() -> None:
    assert TOKENS.encode(TOKEN.next()) == TOKENS.encode(TOKEN.next())


def test_a_token_of_another_key_is_no_token() -> None:
    assert RefreshTokens(b"o" * 32).decode(TOKENS.encode(TOKEN)) is None


def test_no_character_of_a_token_can_be_changed() -> None:
    text = TOKENS.encode(TOKEN)
    signed = text.rpartition(".")[0]

    for index, character in enumerate(signed):
        other = "1" if character != "1" else "2"
        assert TOKENS.decode(text[:index] + other + text[index + 1 :]) is None


def test_a_generation_can_not_be_raised_by_its_holder() -> None:
    corp_id, session_id, _, seed, mac = TOKENS.encode(TOKEN).split(".")

    assert TOKENS.decode(f"{corp_id}.{session_id}.1.{seed}.{mac}") is None


@given(st.text(max_size=400))
def test_text_that_was_not_issued_is_no_token(text: str) -> None:
    assert TOKENS.decode(text) is None


def test_the_database_gets_only_the_hash_of_the_seed() -> None:
    assert SEED not in TOKEN.seed_hash
    assert base64.urlsafe_b64encode(TOKEN.seed_hash).decode() not in TOKENS.encode(TOKEN)


@pytest.mark.parametrize(
    ("generation", "age_s", "expected"),
    [
        pytest.param(5, 0, Refresh.ROTATE, id="the newest"),
        pytest.param(5, 10**6, Refresh.ROTATE, id="the newest, much later"),
        pytest.param(4, 0, Refresh.REPEAT, id="the one before, at once"),
        pytest.param(4, 30, Refresh.REPEAT, id="the one before, after 30 s"),
        pytest.param(4, 31, Refresh.END, id="the one before, after 31 s"),
        pytest.param(3, 0, Refresh.END, id="two before, at once"),
        pytest.param(0, 0, Refresh.END, id="the first, at once"),
        pytest.param(6, 0, Refresh.REJECT, id="from after a restored backup"),
    ],
)
def test_only_the_latest_used_token_may_come_again_and_soon(
    generation: int, age_s: int, expected: Refresh
) -> None:
    now_state = state(generation=5, age=dt.timedelta(seconds=age_s))

    assert decide_refresh(token(generation), now_state) is expected


@pytest.mark.parametrize(
    "over",
    [
        pytest.param(state(expire_time=NOW), id="expired"),
        pytest.param(state(end_time=NOW - SECOND), id="ended"),
        pytest.param(state(seed=b"t" * 16), id="another session's seed"),
    ],
)
@pytest.mark.parametrize("generation", [3, 4, 5])
def test_nothing_changes_in_a_session_that_is_over(over: RefreshState, generation: int) -> None:
    assert decide_refresh(token(generation), over) is Refresh.REJECT


def test_a_refresh_token_is_good_until_the_moment_it_ends() -> None:
    assert decide_refresh(token(5), state(expire_time=NOW + SECOND)) is Refresh.ROTATE
