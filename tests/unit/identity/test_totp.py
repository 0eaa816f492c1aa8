"""Authenticators' codes against RFC 6238, and recovery codes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.identity.second_factors.totp import (
    build_uri,
    derive_recovery_codes,
    encode_secret,
    find_step,
    hash_recovery_code,
    new_secret,
)

# Of RFC 6238, appendix B; its codes have 8 digits, of which authenticators show the last 6.
RFC_SECRET = b"12345678901234567890"


@pytest.mark.parametrize(
    ("now_s", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_the_codes_are_those_of_rfc_6238(now_s: int, code: str) -> None:
    assert find_step(RFC_SECRET, code, now_s=now_s, last_used_step=0) == now_s // 30


@pytest.mark.parametrize(
    ("offset_s", "is_good"),
    [
        pytest.param(-60, False, id="two steps early"),
        pytest.param(-30, True, id="one step early"),
        pytest.param(0, True, id="now"),
        pytest.param(30, True, id="one step late"),
        pytest.param(60, False, id="two steps late"),
    ],
)
def test_a_code_is_good_for_one_step_around(offset_s: int, is_good: bool) -> None:
    step = find_step(RFC_SECRET, "081804", now_s=1111111109 + offset_s, last_used_step=0)

    assert step == (1111111109 // 30 if is_good else None)


def test_a_used_step_and_those_before_it_are_used_up() -> None:
    step = 1111111109 // 30

    assert find_step(RFC_SECRET, "081804", now_s=1111111109, last_used_step=step) is None
    assert find_step(RFC_SECRET, "081804", now_s=1111111109, last_used_step=step + 1) is None
    assert find_step(RFC_SECRET, "081804", now_s=1111111109, last_used_step=step - 1) == step


@pytest.mark.parametrize("code", ["", "81804", "0818040", "08180x", "０８１８０４", "081804\n"])
def test_what_is_no_six_digits_is_no_code(code: str) -> None:
    assert find_step(RFC_SECRET, code, now_s=1111111109, last_used_step=0) is None


def test_a_code_may_be_typed_with_a_blank() -> None:
    assert find_step(RFC_SECRET, "081 804", now_s=1111111109, last_used_step=0)


def test_authenticators_get_the_secret_the_issuer_and_the_account() -> None:
    uri = build_uri(RFC_SECRET, account="li.wei", issuer="Tieline")

    assert uri.startswith("otpauth://totp/Tieline:li.wei?")
    assert f"secret={encode_secret(RFC_SECRET)}" in uri
    assert encode_secret(RFC_SECRET) == "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    assert len(new_secret()) == 20


@given(st.binary(min_size=32, max_size=32), st.uuids())
def test_recovery_codes_are_ten_different_ones_and_the_same_for_the_same_request(
    key: bytes, request_id: object
) -> None:
    codes = derive_recovery_codes(key, "ww1", "li.wei", str(request_id))

    assert codes == derive_recovery_codes(key, "ww1", "li.wei", str(request_id))
    assert len(set(codes)) == 10
    assert {len(code) for code in codes} == {16}
    assert not set(codes) & set(derive_recovery_codes(key, "ww1", "li.wei", "other"))


def test_a_recovery_code_is_the_same_however_it_is_typed() -> None:
    assert hash_recovery_code("abcd-EFGH ijkl-mnop") == hash_recovery_code("ABCDEFGHIJKLMNOP")
