"""Challenges: only what was written with the key, and only in time."""

import datetime as dt
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.chassis.errors import UnauthenticatedError
from tieline.identity.second_factors.challenges import Challenge, Challenges, fingerprint
from tieline.identity.sessions.devices import Device

NOW = dt.datetime(2026, 2, 24, 8, 0, tzinfo=dt.UTC)
CHALLENGE = Challenge(
    corp_id="ww1",
    user_id="li.wei",
    method="password",
    credential=fingerprint("hash"),
    is_enrolment_required=False,
    expire_time=NOW + dt.timedelta(minutes=10),
)
CHALLENGES = Challenges(b"k" * 32)


@pytest.mark.parametrize(
    "challenge",
    [
        CHALLENGE,
        replace(CHALLENGE, is_enrolment_required=True),
        replace(CHALLENGE, device=Device("📱" * 64, 9)),
        replace(CHALLENGE, corp_id="w" * 64, user_id="u" * 64, device=Device('"' * 64, 2**31 - 1)),
    ],
)
def test_a_challenge_is_read_as_it_was_written(challenge: Challenge) -> None:
    assert CHALLENGES.decode(CHALLENGES.encode(challenge), NOW) == challenge


def test_a_challenge_ends() -> None:
    text = CHALLENGES.encode(CHALLENGE)

    with pytest.raises(UnauthenticatedError, match="challenge"):
        CHALLENGES.decode(text, CHALLENGE.expire_time)


def test_a_challenge_of_another_key_is_none() -> None:
    with pytest.raises(UnauthenticatedError):
        CHALLENGES.decode(Challenges(b"o" * 32).encode(CHALLENGE), NOW)


@given(st.text())
def test_no_text_is_a_challenge(text: str) -> None:
    with pytest.raises(UnauthenticatedError):
        CHALLENGES.decode(text, NOW)


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_a_changed_challenge_is_none(position: int, change: int) -> None:
    text = CHALLENGES.encode(CHALLENGE)
    at = position % len(text)
    changed = text[:at] + chr(ord(text[at]) ^ change) + text[at + 1 :]

    try:
        decoded = CHALLENGES.decode(changed, NOW)
    except UnauthenticatedError:
        return
    # Base64 may write the same bytes in two ways, in its last character.
    assert decoded == CHALLENGE


def test_a_fingerprint_tells_hashes_apart_and_holds_none() -> None:
    assert fingerprint("hash") != fingerprint("other") != fingerprint(None)
    assert "hash" not in fingerprint("hash")
