"""When signing keys are made, sign, and are deleted."""

import datetime as dt
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.chassis.revocation_list import MAX_TOKEN_LIFETIME_S
from tieline.identity.signing_keys.rules import (
    PUBLISH_AHEAD,
    SealedKey,
    choose_sign_time,
    find_signing_key,
    plan_key_changes,
)

NOW = dt.datetime(2026, 2, 24, 9, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
LIFETIME = dt.timedelta(days=30)
TOKEN_LIFETIME = dt.timedelta(seconds=MAX_TOKEN_LIFETIME_S)


def key(key_id: str, sign_time: dt.datetime) -> SealedKey:
    return SealedKey(key_id, b"", b"", sign_time)


@pytest.mark.parametrize(
    ("ages", "is_next_due", "over"),
    [
        pytest.param([], True, [], id="none yet"),
        pytest.param([dt.timedelta()], False, [], id="a new one"),
        pytest.param([LIFETIME - PUBLISH_AHEAD - SECOND], False, [], id="not yet"),
        pytest.param([LIFETIME - PUBLISH_AHEAD], True, [], id="the next is to be published"),
        pytest.param([LIFETIME, -SECOND], False, [], id="the next is on its way"),
        pytest.param(
            [LIFETIME, TOKEN_LIFETIME + PUBLISH_AHEAD - SECOND],
            False,
            [],
            id="its last tokens may be good",
        ),
        pytest.param(
            [LIFETIME, TOKEN_LIFETIME + PUBLISH_AHEAD], False, ["0"], id="its last tokens are over"
        ),
        pytest.param([4 * LIFETIME, 3 * LIFETIME, 2 * LIFETIME], True, ["0", "1"], id="long away"),
    ],
)
def test_keys_are_made_in_time_and_deleted_when_over(
    ages: list[dt.timedelta], is_next_due: bool, over: list[str]
) -> None:
    keys = [key(str(number), NOW - age) for number, age in enumerate(ages)]

    changes = plan_key_changes(keys, NOW, LIFETIME)

    assert (changes.is_next_due, changes.over) == (is_next_due, over)


def test_key_signs_from_its_time_on() -> None:
    keys = [key("old", NOW - LIFETIME), key("new", NOW)]

    assert find_signing_key(keys, NOW - SECOND).key_id == "old"
    assert find_signing_key(keys, NOW).key_id == "new"
    assert find_signing_key(keys, NOW - 2 * LIFETIME).key_id == "old"


@given(st.lists(st.timedeltas(SECOND, dt.timedelta(days=3)), max_size=60))
def test_every_good_tokens_key_is_published_and_every_signing_key_was_long_before(
    steps: list[dt.timedelta],
) -> None:
    lifetime = dt.timedelta(days=1)
    now, keys = NOW, list[SealedKey]()
    published_at: dict[str, dt.datetime] = {}
    signed: dict[str, dt.datetime] = {}
    for step in steps:
        now += step
        changes = plan_key_changes(keys, now, lifetime)
        if changes.is_next_due:
            keys.append(key(str(len(published_at)), choose_sign_time(keys, now)))
            published_at[keys[-1].key_id] = now
        keys = [each for each in keys if each.key_id not in changes.over]

        assert not plan_key_changes(keys, now, lifetime), "a carried-out plan leaves nothing"
        signing = find_signing_key(keys, now)
        signed[signing.key_id] = now
        assert signing.key_id == "0" or now - published_at[signing.key_id] >= PUBLISH_AHEAD
        for key_id, signed_at in signed.items():
            if now < signed_at + TOKEN_LIFETIME:
                assert key_id in {each.key_id for each in keys}


def test_key_that_replaces_a_withdrawn_one_signs_at_once() -> None:
    assert choose_sign_time([], NOW) == NOW
    assert choose_sign_time([replace(key("k", NOW), key_id="other")], NOW) == NOW + PUBLISH_AHEAD
