"""The rules of requests to be verified. Pure."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from tieline.chassis.errors import FailedPreconditionError, NotFoundError
from tieline.chassis.fields import check_text, raise_violations
from tieline.identity.corps.rules import MAX_EVIDENCE_LENGTH, Corp

MAX_REGISTRATION_NUMBER_LENGTH = 64
MAX_MEDIA_IDS = 10
MAX_MEDIA_ID_LENGTH = 128


class VerificationState(StrEnum):
    """What became of a request; the values stand in tables."""

    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a corp shows to be verified by."""

    text: str
    registration_number: str
    media_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class VerificationRequest:
    """A corp's request, and what became of it."""

    corp_id: str
    verification_request_id: str
    display_name: str
    """The corp's name when it asked."""

    evidence: Evidence
    requester_user_id: str
    state: VerificationState
    create_time: dt.datetime
    decide_time: dt.datetime | None
    reject_reason: str


def check_shown_evidence(evidence: Evidence) -> None:
    """Refuse evidence that says nothing or too much, with every field that is wrong."""
    violations: dict[str, str] = {}
    check_text(evidence.text, "evidence.text", violations, minimum=1, maximum=MAX_EVIDENCE_LENGTH)
    check_text(
        evidence.registration_number,
        "evidence.registration_number",
        violations,
        minimum=0,
        maximum=MAX_REGISTRATION_NUMBER_LENGTH,
    )
    if len(evidence.media_ids) > MAX_MEDIA_IDS:
        violations["evidence.media_ids"] = f"must be at most {MAX_MEDIA_IDS}"
    else:
        for index, media_id in enumerate(evidence.media_ids):
            field = f"evidence.media_ids[{index}]"
            check_text(media_id, field, violations, minimum=1, maximum=MAX_MEDIA_ID_LENGTH)
    raise_violations(violations)


def check_needs_verification(corp: Corp) -> None:
    """Refuse a request of a corp that is verified."""
    if corp.verify_time is not None:
        raise FailedPreconditionError("CORP_VERIFIED", "the corp is verified")


def check_open(request: VerificationRequest | None) -> VerificationRequest:
    """Return the request to be decided; refuse one that is not there, or was decided."""
    if request is None:
        raise NotFoundError(
            "VERIFICATION_REQUEST_NOT_FOUND", "the corp has no such request for verification"
        )
    if request.state is not VerificationState.OPEN:
        raise FailedPreconditionError(
            "VERIFICATION_DECIDED",
            f"the request for verification is {request.state}",
            {"state": request.state},
        )
    return request
