import datetime as dt

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from tieline.chassis.errors import InvalidArgumentError
from tieline.chassis.fields import (
    check_text,
    check_user_id,
    is_uuid,
    raise_violations,
    to_timestamp,
)


@pytest.mark.parametrize(
    ("user_id", "is_valid"),
    [
        pytest.param("a", True, id="one letter"),
        pytest.param("0", True, id="one digit"),
        pytest.param("Li.Wei_2-x@corp", True, id="every kind of character"),
        pytest.param("a" * 64, True, id="64 characters"),
        pytest.param("a" * 65, False, id="65 characters"),
        pytest.param("", False, id="empty"),
        pytest.param(".a", False, id="begins with a dot"),
        pytest.param("李伟", False, id="Chinese"),
        pytest.param("a b", False, id="blank inside"),
        pytest.param("a\n", False, id="line end"),
    ],
)
def test_user_ids_have_the_open_apis_form(user_id: str, is_valid: bool) -> None:
    violations: dict[str, str] = {}

    check_user_id(user_id, "user_id", violations)

    assert (violations == {}) is is_valid


@pytest.mark.parametrize(
    ("value", "is_valid"),
    [
        pytest.param("周", True, id="shortest"),
        pytest.param("周" * 4, True, id="longest"),
        pytest.param("周" * 5, False, id="one too many"),
        pytest.param("", False, id="empty"),
        pytest.param("  ", False, id="blank"),
        pytest.param("a\x1b[", False, id="escape character"),
        pytest.param("a\nb", False, id="two lines"),
    ],
)
def test_texts_are_one_line_of_bounded_length(value: str, is_valid: bool) -> None:
    violations: dict[str, str] = {}

    check_text(value, "name", violations, minimum=1, maximum=4)

    assert (violations == {}) is is_valid


@pytest.mark.parametrize(
    ("value", "is_valid"),
    [
        pytest.param("018f3d2e-7c1a-7b6e-9f00-3a5b8c2d1e4f", True, id="a UUID"),
        pytest.param("018F3D2E-7C1A-7B6E-9F00-3A5B8C2D1E4F", False, id="in capitals"),
        pytest.param("018f3d2e7c1a7b6e9f003a5b8c2d1e4f", False, id="without hyphens"),
        pytest.param("{018f3d2e-7c1a-7b6e-9f00-3a5b8c2d1e4f}", False, id="in braces"),
        pytest.param("018f3d2e-7c1a-7b6e-9f00-3a5b8c2d1e4f\n", False, id="line end"),
        pytest.param("", False, id="empty"),
    ],
)
def test_a_uuid_has_one_spelling(value: str, is_valid: bool) -> None:
    assert is_uuid(value) is is_valid


def test_all_violations_are_raised_together() -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        raise_violations({"a": "must be 1", "b": "must be 2"})

    assert str(raised.value) == "a must be 1; b must be 2"


def test_no_violation_raises_nothing() -> None:
    raise_violations({})


@given(time=st.datetimes(timezones=st.timezones()))
def test_timestamps_are_those_that_protobuf_makes(time: dt.datetime) -> None:
    expected = Timestamp()
    expected.FromDatetime(time)

    assert to_timestamp(time) == expected
