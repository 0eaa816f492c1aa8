"""The rules of what apps send to many, and jobs as they are stored. Pure."""

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

from google.protobuf.duration_pb2 import Duration

from tieline.api.messaging.v1 import app_message_service_pb2, messaging_pb2
from tieline.chassis.errors import (
    DeadlineExceededError,
    FailedPreconditionError,
    NotFoundError,
    ResourceExhaustedError,
    ServiceError,
)
from tieline.chassis.fields import raise_violations, to_timestamp
from tieline.messaging.contents.rules import check_app_markdown, check_content
from tieline.messaging.messages.change_rules import CHANGE_WINDOW
from tieline.messaging.sending.results import build_error

# The open API's limits of one message (document 90236).
MAX_USER_IDS = 1000
MAX_DEPARTMENT_IDS = 100
MAX_TAG_IDS = 100
MAX_DUPLICATE_CHECK = dt.timedelta(hours=4)

# The open API's limits of one app and one member (document 90312). It drops what is more.
MAX_PER_MINUTE = 30
MAX_PER_HOUR = 1000

MAX_JOBS_WITH_WORK = 100

# Nobody wants yesterday's message; and a repeat is recognised for longer than a job lasts.
MAX_AGE = dt.timedelta(hours=24)

KEPT_FOR = dt.timedelta(days=30)

_MAX_USER_ID_CHARACTERS = 64
_JOBS_RETRY_AFTER_S = 10.0
_RATE_RETRY_AFTER_S = 60.0
_MESSAGE_ID_PREFIX = "app-"

_KINDS = frozenset(
    {
        *("text", "markdown", "image", "voice", "video", "file", "link_card"),
        *("mini_program_card", "template_card", "location", "contact_card"),
    }
)

_LASTING_REASONS = frozenset(
    {
        *("CONVERSATION_NOT_FOUND", "CONVERSATION_DISMISSED", "MESSAGE_NOT_FOUND"),
        *("WRONG_MESSAGE_KIND", "LIMIT_REACHED"),
    }
)


class State(StrEnum):
    """Where a job stands; the values stand in tables."""

    SENDING = "sending"
    SENT = "sent"
    RECALLING = "recalling"
    RECALLED = "recalled"
    FAILED = "failed"


STATES_TO_PROTO = MappingProxyType(
    {
        State.SENDING: app_message_service_pb2.APP_MESSAGE_JOB_STATE_SENDING,
        State.SENT: app_message_service_pb2.APP_MESSAGE_JOB_STATE_SENT,
        State.RECALLING: app_message_service_pb2.APP_MESSAGE_JOB_STATE_RECALLING,
        State.RECALLED: app_message_service_pb2.APP_MESSAGE_JOB_STATE_RECALLED,
        State.FAILED: app_message_service_pb2.APP_MESSAGE_JOB_STATE_FAILED,
    }
)


@dataclass(frozen=True, slots=True)
class Job:
    """One row of ``app_message_jobs``."""

    corp_id: str
    job_id: str
    app_id: str
    audience: bytes
    """Serialized AppMessageAudience."""

    invalid: bytes
    """Serialized InvalidAudience."""

    content: bytes
    """Serialized MessageContent."""

    state: State
    is_listed: bool
    """Whether all of the audience is among the recipients."""

    last_user_id: str
    """Up to whom it is; the next ones are behind."""

    recipient_count: int
    sent_count: int
    failed_count: int
    recalled_count: int
    card_version: int
    outdated_count: int
    """Recipients whose message has an older card."""

    failure: bytes | None
    """Serialized SendError of a failed one."""

    create_time: dt.datetime
    finish_time: dt.datetime | None

    @property
    def key(self) -> tuple[str, str]:
        """What names it."""
        return self.corp_id, self.job_id

    @property
    def has_work(self) -> bool:
        """Whether a turn has anything to do."""
        return self.state in (State.SENDING, State.RECALLING) or (
            self.outdated_count > 0 and self.state is not State.RECALLED
        )

    @property
    def waiting_count(self) -> int:
        """How many recipients have yet to get the message."""
        return self.recipient_count - self.sent_count - self.failed_count


def check_request(
    request: app_message_service_pb2.SendAppMessageRequest,
) -> dt.timedelta:
    """Refuse what is wrong with a message to many; return for how long to look for its like."""
    violations: dict[str, str] = {}
    _check_audience(request.audience, violations)
    check_content(request.content, violations)
    _check_kind(request.content, violations)
    interval = _read_interval(request.duplicate_check_interval, violations)
    raise_violations(violations)
    return interval


def _read_interval(interval: Duration, violations: dict[str, str]) -> dt.timedelta:
    # What is out of range need not fit into a timedelta.
    is_short = 0 <= interval.seconds <= MAX_DUPLICATE_CHECK.total_seconds()
    read = interval.ToTimedelta() if is_short else dt.timedelta.max
    if not dt.timedelta() <= read <= MAX_DUPLICATE_CHECK:
        violations["duplicate_check_interval"] = "must be 0 to 4 hours"
    return read


def _check_audience(
    audience: app_message_service_pb2.AppMessageAudience, violations: dict[str, str]
) -> None:
    for name, maximum in (
        ("user_ids", MAX_USER_IDS),
        ("department_ids", MAX_DEPARTMENT_IDS),
        ("tag_ids", MAX_TAG_IDS),
    ):
        if len(getattr(audience, name)) > maximum:
            violations[f"audience.{name}"] = f"must be at most {maximum}"
            return
    for index, user_id in enumerate(audience.user_ids):
        if not 1 <= len(user_id) <= _MAX_USER_ID_CHARACTERS:
            violations[f"audience.user_ids[{index}]"] = "must have 1 to 64 characters"
    names_some = bool(audience.user_ids or audience.department_ids or audience.tag_ids)
    if audience.everybody == names_some:
        violations["audience"] = "must be everybody, or name members, departments or tags"


def _check_kind(content: messaging_pb2.MessageContent, violations: dict[str, str]) -> None:
    if content.WhichOneof("kind") not in _KINDS:
        violations.setdefault("content.kind", "must be one that apps send to many")
    for name in ("reply_to", "mentions"):
        if content.HasField(name):
            violations[f"content.{name}"] = "must be absent"
    check_app_markdown(content, violations)


def check_reachable(
    audience: app_message_service_pb2.AppMessageAudience,
    invalid: app_message_service_pb2.InvalidAudience,
) -> None:
    """Refuse an audience of which the app reaches nothing, as the open API does."""
    # What is invalid is told once, however often it was named.
    is_reached = audience.everybody or any(
        set(named) - set(refused)
        for named, refused in (
            (audience.user_ids, invalid.user_ids),
            (audience.department_ids, invalid.department_ids),
            (audience.tag_ids, invalid.tag_ids),
        )
    )
    if not is_reached:
        raise FailedPreconditionError(
            "NO_RECIPIENTS",
            "the app reaches nobody of these",
            {
                "invalidUserIds": str(len(invalid.user_ids)),
                "invalidDepartmentIds": str(len(invalid.department_ids)),
                "invalidTagIds": str(len(invalid.tag_ids)),
            },
        )


def check_room(jobs_with_work: int) -> None:
    """Refuse one more job than an app may have under way."""
    if jobs_with_work >= MAX_JOBS_WITH_WORK:
        raise ResourceExhaustedError(
            "TOO_MANY_APP_MESSAGE_JOBS",
            f"{MAX_JOBS_WITH_WORK} jobs of the app have work to do: wait until one is done",
            retry_after_s=_JOBS_RETRY_AFTER_S,
        )


def build_digest(request: app_message_service_pb2.SendAppMessageRequest) -> bytes:
    """Return what names audience and content, in whatever order the audience is named."""
    audience = app_message_service_pb2.AppMessageAudience(
        everybody=request.audience.everybody,
        user_ids=sorted({user_id.lower() for user_id in request.audience.user_ids}),
        department_ids=sorted(set(request.audience.department_ids)),
        tag_ids=sorted(set(request.audience.tag_ids)),
    )
    digest = hashlib.sha256(audience.SerializeToString(deterministic=True))
    digest.update(b"\0")
    digest.update(request.content.SerializeToString(deterministic=True))
    return digest.digest()


def build_client_message_id(job: Job) -> str:
    """Return the id under which the job's message is in each recipient's conversation."""
    return _MESSAGE_ID_PREFIX + job.job_id


def find_job_id(client_message_id: str) -> str | None:
    """Return which job may have sent a message of this id."""
    if not client_message_id.startswith(_MESSAGE_ID_PREFIX):
        return None
    return client_message_id.removeprefix(_MESSAGE_ID_PREFIX)


def find_rate_refusal(in_minute: int, in_hour: int) -> ServiceError | None:
    """Return why a member who got so many of the app's messages gets no more for now."""
    if in_minute < MAX_PER_MINUTE and in_hour < MAX_PER_HOUR:
        return None
    return ResourceExhaustedError(
        "RECIPIENT_RATE_EXCEEDED",
        f"a member gets {MAX_PER_MINUTE} messages of an app in a minute, "
        f"{MAX_PER_HOUR} in an hour at most",
        retry_after_s=_RATE_RETRY_AFTER_S,
    )


def check_recall(job: Job, now: dt.datetime) -> None:
    """Refuse to take back what was sent too long ago."""
    if now - job.create_time > CHANGE_WINDOW:
        raise FailedPreconditionError("TOO_LATE", "messages are recalled within 24 hours")


def begin_recall(job: Job) -> Job:
    """Return the job as it is when its message is to be taken back."""
    if job.state in (State.RECALLING, State.RECALLED):
        return job
    return replace(job, state=State.RECALLING, failure=None, finish_time=None)


def end_recall(job: Job, now: dt.datetime) -> Job:
    """Return the job whose message nobody has any more."""
    return replace(job, state=State.RECALLED, content=b"", outdated_count=0, finish_time=now)


def replace_content(job: Job, content: bytes) -> Job:
    """Return the job whose recipients are to get another card."""
    if job.state in (State.RECALLING, State.RECALLED):
        raise NotFoundError("MESSAGE_NOT_FOUND", "the card was recalled", {"sequence": ""})
    return replace(
        job,
        content=content,
        card_version=job.card_version + 1,
        outdated_count=job.sent_count,
    )


def fail(job: Job, error: ServiceError, now: dt.datetime) -> Job:
    """Return the job that ends early."""
    failure = build_error(error).SerializeToString()
    return replace(job, state=State.FAILED, failure=failure, finish_time=now)


def add_recipients(job: Job, user_ids: Sequence[str], failed: int, *, is_last: bool) -> Job:
    """Return the job with the next members of its audience, so many of whom get nothing."""
    return replace(
        job,
        is_listed=is_last,
        last_user_id=user_ids[-1] if user_ids else job.last_user_id,
        recipient_count=job.recipient_count + len(user_ids),
        failed_count=job.failed_count + failed,
    )


def count_outcomes(job: Job, sent: int, failed: int) -> Job:
    """Return the job with so many fewer who wait."""
    return replace(job, sent_count=job.sent_count + sent, failed_count=job.failed_count + failed)


def count_recalled(job: Job, recalled: int, failed: int) -> Job:
    """Return the job with so many more who have it no longer, or never got it."""
    return replace(
        job,
        recalled_count=job.recalled_count + recalled,
        failed_count=job.failed_count + failed,
    )


def count_updated(job: Job, updated: int) -> Job:
    """Return the job with so many fewer who have an older card."""
    return replace(job, outdated_count=job.outdated_count - updated)


def is_lasting(error: ServiceError) -> bool:
    """Return whether a recipient's message can't be changed, however often that is tried."""
    return error.reason in _LASTING_REASONS


def end_sending(job: Job, now: dt.datetime) -> Job:
    """Return the job as sent, once nobody waits any more."""
    if job.state is not State.SENDING or not job.is_listed or job.waiting_count:
        return job
    return replace(job, state=State.SENT, finish_time=now)


def find_expiry(job: Job, now: dt.datetime) -> ServiceError | None:
    """Return why the job sends no more."""
    if now - job.create_time <= MAX_AGE:
        return None
    return DeadlineExceededError(
        "APP_MESSAGE_JOB_EXPIRED", "it was not done 24 hours after it began"
    )


def app_disabled_error() -> FailedPreconditionError:
    """Return the error of an app in whose name nothing is sent."""
    return FailedPreconditionError("APP_DISABLED", "the app is disabled, or gone")


def out_of_range_error(user_id: str) -> FailedPreconditionError:
    """Return the error of a message to somebody whom the app reaches no more."""
    return FailedPreconditionError(
        "RECIPIENT_OUT_OF_RANGE",
        "the member is not in the app's visible range, or is disabled or gone",
        {"userId": user_id},
    )


def recalled_before_sent_error() -> FailedPreconditionError:
    """Return why somebody did not get a message that was taken back."""
    return FailedPreconditionError("RECALLED_BEFORE_SENT", "it was recalled before")


def job_not_found_error(job_id: str) -> NotFoundError:
    """Return the error of a job that is not there, or another app's."""
    return NotFoundError("APP_MESSAGE_JOB_NOT_FOUND", "no such job", {"jobId": job_id[:64]})


def job_to_proto(job: Job, *, is_whole: bool = True) -> app_message_service_pb2.AppMessageJob:
    """Return it as the API shows it, in lists without what is large."""
    proto = app_message_service_pb2.AppMessageJob(
        corp_id=job.corp_id,
        job_id=job.job_id,
        agent_id=int(job.app_id),
        state=STATES_TO_PROTO[job.state],
        recipient_count=job.recipient_count,
        sent_count=job.sent_count,
        failed_count=job.failed_count,
        recalled_count=job.recalled_count,
        outdated_count=job.outdated_count,
        create_time=to_timestamp(job.create_time),
    )
    if is_whole:
        proto.audience.ParseFromString(job.audience)
        proto.invalid.ParseFromString(job.invalid)
        proto.content.ParseFromString(job.content)
    if job.failure is not None:
        proto.failure.ParseFromString(job.failure)
    if job.finish_time is not None:
        proto.finish_time.CopyFrom(to_timestamp(job.finish_time))
    return proto
