"""The rules of corps and channels."""

import datetime as dt
from dataclasses import replace

import pytest

from tieline.chassis.errors import InvalidArgumentError
from tieline.identity.corps.rules import (
    Corp,
    CorpKind,
    NewCorp,
    check_evidence,
    check_new_corp,
    find_account_key,
)

NEW = NewCorp("Jinyu Jewellery", CorpKind.COMPANY, "li.wei", "Li Wei")
CORP_ID = "ww" + "a1" * 12
NOW = dt.datetime(2026, 2, 24, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("corp", "field"),
    [
        pytest.param(replace(NEW, display_name=""), "display_name", id="no name"),
        pytest.param(replace(NEW, display_name="字" * 65), "display_name", id="65 characters"),
        pytest.param(replace(NEW, display_name="a\x00b"), "display_name", id="NUL in the name"),
        pytest.param(replace(NEW, kind=None), "kind", id="no kind"),
        pytest.param(replace(NEW, owner_user_id="-li"), "owner_user_id", id="malformed owner"),
        pytest.param(replace(NEW, owner_name=" "), "owner_name", id="blank owner's name"),
    ],
)
def test_a_field_that_breaks_its_rule_is_named(corp: NewCorp, field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        check_new_corp(corp)

    assert list(caught.value.violations) == [field]


def test_all_wrong_fields_of_a_corp_are_named_at_once() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        check_new_corp(NewCorp("", None, "", ""))

    assert set(caught.value.violations) == {"display_name", "kind", "owner_user_id", "owner_name"}


def test_names_of_64_characters_are_accepted() -> None:
    check_new_corp(replace(NEW, display_name="字" * 64, owner_name="字" * 64))


@pytest.mark.parametrize("evidence", ["", " ", "x" * 1001, "a\nb"])
def test_evidence_must_say_something_in_one_line(evidence: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        check_evidence(evidence)

    assert list(caught.value.violations) == ["evidence"]


def test_the_label_is_empty_until_the_corp_is_verified() -> None:
    corp = Corp(CORP_ID, "Jinyu Jewellery", CorpKind.COMPANY, "li.wei", NOW)

    assert corp.verified_label == ""
    assert replace(corp, verify_time=NOW).verified_label == "Jinyu Jewellery · company · verified"


@pytest.mark.parametrize(
    ("name", "kind", "label"),
    [
        (
            "Baoji Education Bureau",
            CorpKind.GOVERNMENT,
            "Baoji Education Bureau · government · verified",
        ),
        ("No. 1 School", CorpKind.SCHOOL, "No. 1 School · school · verified"),
        ("Red Cross", CorpKind.HOSPITAL, "Red Cross · hospital · verified"),
        ("宝鸡市教育局", CorpKind.OTHER, "宝鸡市教育局 · other · verified"),
    ],
)
def test_the_label_says_name_kind_and_that_it_was_verified(
    name: str, kind: CorpKind, label: str
) -> None:
    corp = Corp(CORP_ID, name, kind, "li.wei", NOW, verify_time=NOW)

    assert corp.verified_label == label


def test_accounts_are_found_regardless_of_case() -> None:
    assert find_account_key(CORP_ID, "Li.Wei") == (CORP_ID, "li.wei")


@pytest.mark.parametrize(
    ("corp_id", "user_id"),
    [(CORP_ID, ""), (CORP_ID, "li\x00wei"), (CORP_ID, "李伟"), ("ww", "li.wei")],
)
def test_what_can_be_no_account_has_no_key(corp_id: str, user_id: str) -> None:
    assert find_account_key(corp_id, user_id) is None
