"""The rules of requests to be verified."""

import datetime as dt
from dataclasses import replace

import pytest

from tieline.chassis.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from tieline.identity.corps.rules import Corp, CorpKind
from tieline.identity.corps.verifications import (
    Evidence,
    VerificationRequest,
    VerificationState,
    check_needs_verification,
    check_open,
    check_shown_evidence,
)

NOW = dt.datetime(2026, 2, 24, tzinfo=dt.UTC)
EVIDENCE = Evidence("licence", "91310000", ["m1"])
REQUEST = VerificationRequest(
    "ww1", "1", "Jinyu", EVIDENCE, "boss", VerificationState.OPEN, NOW, None, ""
)


@pytest.mark.parametrize(
    ("evidence", "field"),
    [
        pytest.param(replace(EVIDENCE, text=""), "text", id="no text"),
        pytest.param(replace(EVIDENCE, text="x" * 1001), "text", id="too long"),
        pytest.param(
            replace(EVIDENCE, registration_number="9" * 65), "registration_number", id="number"
        ),
        pytest.param(replace(EVIDENCE, media_ids=["m"] * 11), "media_ids", id="too many scans"),
        pytest.param(replace(EVIDENCE, media_ids=["m", ""]), "media_ids[1]", id="an empty id"),
    ],
)
def test_evidence_that_says_nothing_or_too_much_is_refused(evidence: Evidence, field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        check_shown_evidence(evidence)

    assert list(caught.value.violations) == [f"evidence.{field}"]


def test_evidence_needs_a_text_alone() -> None:
    check_shown_evidence(Evidence("x" * 1000, "", []))


def test_a_verified_corp_has_nothing_to_ask_for() -> None:
    corp = Corp("ww1", "Jinyu", CorpKind.COMPANY, "boss", NOW)
    check_needs_verification(corp)

    with pytest.raises(FailedPreconditionError) as caught:
        check_needs_verification(replace(corp, verify_time=NOW))
    assert caught.value.reason == "CORP_VERIFIED"


@pytest.mark.parametrize("state", list(VerificationState)[1:])
def test_a_request_is_decided_once(state: VerificationState) -> None:
    assert check_open(REQUEST) is REQUEST

    with pytest.raises(FailedPreconditionError) as caught:
        check_open(replace(REQUEST, state=state))
    assert caught.value.metadata == {"state": state}


def test_a_request_that_is_not_there_is_not_found() -> None:
    with pytest.raises(NotFoundError):
        check_open(None)
