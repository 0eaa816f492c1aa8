"""What finds a member."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.directory.members.rules import fold
from tieline.directory.search.terms import (
    MARKS,
    SearchedMember,
    build_entry,
    list_department_grams,
    list_grams,
    matches,
    range_of,
)

FANG = SearchedMember(
    user_id="wang.fang7",
    name="王芳",
    alias="Stella Wang",
    position="高级珠宝顾问",
    mobile="13812345678",
    email="fang.w@jinyu.example",
    biz_email="Stores.East@work.example",
)

EMPTY = SearchedMember(FANG.user_id, *("",) * 6)
USER_ID_TERMS = {"wang.fang7", "fang7"}
USER_ID_TEXT = "wang.fang7\x1f"


@pytest.mark.parametrize(
    "query",
    [
        *("王", "王芳", "芳", "wang", "wangf", "wangfang", "fang", "wf"),
        *("stella", "STELLA w", "wang.f", "fang7", "1381", "345678", "5678"),
        *("fang.w@jin", "珠宝", "宝", "顾问", "ang.w"),
        *("stores.east@w", "ores.ea"),
        *("wang fang", "wang f", "w f", "王 芳", "stellaw", "138 1234"),
    ],
)
def test_member_is_found_by(query: str) -> None:
    assert matches(FANG, fold(query))


@pytest.mark.parametrize(
    "query", ["芳王", "fangwang", "wz", "example", "work", "wan fang", "9999", "%", "\x1f"]
)
def test_member_is_not_found_by(query: str) -> None:
    # A control character never gets here: the request is refused.
    assert matches(FANG, fold(query)) is (query == "\x1f")


def test_polyphone_is_found_by_each_reading_and_its_initials() -> None:
    member = dataclasses.replace(FANG, name="单田芳", alias="")

    for query in ("shantian", "dantian", "stf", "dtf"):
        assert matches(member, query)


@pytest.mark.parametrize("name", ["吕布", "张吕布"])
@pytest.mark.parametrize("query", ["lv", "lu", "lü", "Lü Bu", "lu\u0308bu", "lvbu", "lubu", "lb"])
def test_a_vowel_without_a_key_of_its_own_is_found_as_people_type_it(name: str, query: str) -> None:
    """Typed as v, as u, or as ü, composed or not."""
    assert matches(dataclasses.replace(FANG, name=name), fold(query))


def test_what_comes_of_a_hideable_field_has_the_fields_mark_and_nothing_else() -> None:
    marks = frozenset(MARKS.values())
    for name, mark in MARKS.items():
        entry = build_entry("ww1", dataclasses.replace(EMPTY, **{name: getattr(FANG, name)}))
        # The user id, which everybody has, is never hidden.
        terms = [term for term in entry.terms if term[1:] not in USER_ID_TERMS]

        assert all(term.endswith(mark) for term in terms)
        assert entry.text.startswith(USER_ID_TEXT)
        assert set(entry.text.removeprefix(USER_ID_TEXT)) & marks == {mark}

    shown = build_entry("ww1", dataclasses.replace(FANG, **dict.fromkeys(MARKS, "")))
    assert not marks & set("".join((shown.text, *shown.terms)))


TEXTS = st.text(alphabet="ab1.- 王芳é", max_size=8)


@given(st.builds(SearchedMember, *(TEXTS,) * 7), TEXTS, st.data())
def test_grams_of_whatever_a_text_holds_are_among_its_grams(
    member: SearchedMember, corp_id: str, data: st.DataObject
) -> None:
    entry = build_entry(corp_id, member)
    start = data.draw(st.integers(0, len(entry.text)))
    query = entry.text[start : data.draw(st.integers(start, len(entry.text)))]

    assert set(list_grams(corp_id, query)) <= set(entry.grams)


@given(TEXTS, TEXTS)
def test_range_of_terms_holds_those_that_begin_with_the_query(term: str, query: str) -> None:
    first, end = range_of("0", query)

    assert (first <= "0" + term < end) is term.startswith(query)


def test_one_text_has_other_grams_in_another_corp() -> None:
    assert not set(list_grams("ww1", "珠宝顾问")) & set(list_grams("ww2", "珠宝顾问"))


def test_a_member_is_found_by_the_grams_of_the_own_departments_alone() -> None:
    entry = build_entry("ww1", SearchedMember("li", "李娜", "", "", "", "", ""), (520, 7))
    grams = set(entry.grams)

    assert set(list_department_grams("ww1", (7, 520))) <= grams
    assert not set(list_department_grams("ww1", (5, 20, 52))) & grams
    assert not set(list_department_grams("ww2", (7, 520))) & grams
