"""A member's departments, values of attributes, and how often nobody may be found."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.api.directory.v1 import attribute_pb2
from tieline.chassis.errors import InvalidArgumentError, NotFoundError, ResourceExhaustedError
from tieline.directory.attributes.rules import (
    Attribute,
    check_kinds,
    check_values,
    to_json,
    to_values,
)
from tieline.directory.members.fields import change_member
from tieline.directory.members.lookup_limits import allowance_of, check_allowance
from tieline.directory.members.rules import Member, MemberDepartment, plan_departments

AT = MemberDepartment

TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=16
).filter(str.strip)
URLS = st.text("abc/?=&%", max_size=99).map("https://x".__add__)
WEB_LINKS = st.builds(attribute_pb2.WebLink, url=URLS, title=TEXTS)
PROGRAMS = st.builds(
    attribute_pb2.MiniProgramLink,
    app_id=st.text("aZ09_-", min_size=1, max_size=64),
    page_path=st.text("a/?b", max_size=99),
    title=TEXTS,
)
VALUES = st.lists(
    st.one_of(
        st.builds(attribute_pb2.AttributeValue, name=TEXTS, text=TEXTS),
        st.builds(attribute_pb2.AttributeValue, name=TEXTS, web=WEB_LINKS),
        st.builds(attribute_pb2.AttributeValue, name=TEXTS, mini_program=PROGRAMS),
    ),
    max_size=20,
    unique_by=lambda value: value.name,
)


@pytest.mark.parametrize(
    ("given_", "main", "expected"),
    [
        pytest.param((), 0, (1, (AT(1),)), id="nothing: the root"),
        pytest.param((), 7, (7, (AT(7),)), id="main one alone"),
        pytest.param((AT(7), AT(3)), 0, (7, (AT(7), AT(3))), id="first is the main one"),
        pytest.param((AT(3), AT(7), AT(2)), 7, (7, (AT(7), AT(2), AT(3))), id="main one first"),
    ],
)
def test_departments_have_a_main_one(
    given_: tuple[MemberDepartment, ...],
    main: int,
    expected: tuple[int, tuple[MemberDepartment, ...]],
) -> None:
    assert plan_departments(given_, main) == expected


def test_main_department_must_be_among_the_others() -> None:
    with pytest.raises(ValueError, match="one of the member's departments"):
        plan_departments((AT(3),), 7)


@pytest.mark.parametrize(
    ("departments", "main"),
    [
        pytest.param((AT(3), AT(7)), 7, id="stays while it is among them"),
        pytest.param((AT(3), AT(2)), 3, id="else becomes the first"),
    ],
)
def test_main_department_follows_a_change_of_departments(
    departments: tuple[MemberDepartment, ...], main: int
) -> None:
    member = Member("li", department_id=7, departments=(AT(7),))

    changed = change_member(member, {"departments": departments})

    assert changed.department_id == changed.departments[0].department_id == main


@given(values=VALUES)
def test_values_that_are_allowed_come_back_as_they_were_stored(
    values: list[attribute_pb2.AttributeValue],
) -> None:
    violations: dict[str, str] = {}

    check_values(values, "values", violations)

    assert violations == {}
    assert to_values(to_json(values)) == sorted(values, key=lambda value: value.name)


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"text": "x" * 129}, "values[0].text"),
        ({"text": ""}, "values[0].text"),
        ({"web": {"url": "ftp://x", "title": "x"}}, "values[0].web.url"),
        ({"web": {"url": "http://" + "x" * 506, "title": "x"}}, "values[0].web.url"),
        ({"web": {"url": "http://x\n", "title": "x"}}, "values[0].web.url"),
        ({"web": {"url": "http://x", "title": "x" * 17}}, "values[0].web.title"),
        ({"mini_program": {"app_id": "", "title": "x"}}, "values[0].mini_program.app_id"),
        (
            {"mini_program": {"app_id": "a", "title": "x", "page_path": "长"}},
            "values[0].mini_program.page_path",
        ),
    ],
)
def test_wrong_values_are_named(value: dict[str, object], field: str) -> None:
    violations: dict[str, str] = {}

    check_values([attribute_pb2.AttributeValue(name="a", **value)], "values", violations)  # type: ignore[arg-type]

    assert list(violations) == [field]


def test_more_than_twenty_values_are_refused_without_reading_them_all() -> None:
    violations: dict[str, str] = {}
    values = [attribute_pb2.AttributeValue(name=f"a{n}", text="x") for n in range(100_000)]

    check_values(values, "values", violations)

    assert list(violations) == ["values"]


def test_values_need_attributes_of_their_kind() -> None:
    attributes = {"Badge": Attribute("Badge", "text", 0, False)}

    check_kinds('{"Badge": {"text": "1"}}', attributes, "field")
    with pytest.raises(InvalidArgumentError):
        check_kinds('{"Badge": {"web": {}}}', attributes, "field")
    with pytest.raises(NotFoundError):
        check_kinds('{"Other": {"text": "1"}}', attributes, "field")


@pytest.mark.parametrize(("members", "allowance"), [(1, 20), (104, 20), (105, 21), (36_000, 7200)])
def test_a_fifth_of_the_members_may_be_nobody_in_a_day(members: int, allowance: int) -> None:
    assert allowance_of(members) == allowance


def test_allowance_that_is_used_up_is_back_at_midnight() -> None:
    now = dt.datetime(2026, 2, 24, 22, 30, tzinfo=dt.UTC)

    check_allowance(19, 20, now)
    with pytest.raises(ResourceExhaustedError) as raised:
        check_allowance(20, 20, now)

    assert raised.value.retry_after_s == 90 * 60
