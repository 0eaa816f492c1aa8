"""Import jobs: what is kept of one, and what may become of it. Pure."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from tieline.chassis.authorization import Right
from tieline.chassis.errors import NotFoundError, ResourceExhaustedError
from tieline.chassis.principals import ADMINISTRATOR_ROLE, Principal, PrincipalKind
from tieline.directory.imports.csv_rows import Encoding
from tieline.directory.imports.options import Format, Mode, Options
from tieline.directory.imports.totals import Totals

# As the open API keeps of a corp.
KEPT_JOBS = 5

# Each holds its file, 20 MB by default.
MAX_WAITING_JOBS = 5

# A job that took as many replicas down with it is not given to another one.
MAX_ATTEMPTS = 5

_WAITING_RETRY_AFTER_S = 10.0


class State(StrEnum):
    """Where a job stands; the values stand in the table."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_finished(self) -> bool:
        """Whether nothing will become of it any more."""
        return self not in (State.WAITING, State.RUNNING)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job ended early."""

    reason: str
    text: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImportJob:
    """One file that is imported in the background."""

    corp_id: str
    job_id: str
    state: State
    options: Options
    creator: Principal
    """As far as it matters: kind, id, corp and range."""

    file_bytes: int
    total_rows: int
    totals: Totals
    checked_change_number: int | None
    failure: Failure | None
    attempts: int
    """Replicas that took it since it last got on."""

    create_time: dt.datetime
    start_time: dt.datetime | None
    finish_time: dt.datetime | None


def job_not_found_error(job_id: str) -> NotFoundError:
    """Return the error of a job that the corp does not have, or has no longer."""
    return NotFoundError("IMPORT_JOB_NOT_FOUND", "no such import job", {"jobId": job_id})


def jobs_waiting_error() -> ResourceExhaustedError:
    """Return the error of a corp as many of whose jobs as may wait are waiting."""
    return ResourceExhaustedError(
        "IMPORT_JOBS_WAITING",
        f"{MAX_WAITING_JOBS} import jobs of the corp are waiting: cancel one, or wait",
        retry_after_s=_WAITING_RETRY_AFTER_S,
    )


def options_to_json(options: Options) -> dict[str, object]:
    """Return the options as they are stored."""
    return asdict(options)


def options_from_json(stored: Mapping[str, object]) -> Options:
    """Return stored options."""
    return Options(
        Format(str(stored["format"])),
        Encoding(str(stored["encoding"])),
        Mode(str(stored["mode"])),
        bool(stored["is_dry_run"]),
        int(str(stored["confirmed_removals"])),
    )


def build_creator(kind: str, creator_id: str, corp_id: str, range_ids: list[int]) -> Principal:
    """Return who created a job, as audit entries, ranges and what is seen need it."""
    return Principal(
        PrincipalKind(kind),
        creator_id,
        corp_id,
        session_id="",
        roles=frozenset({ADMINISTRATOR_ROLE}),
        rights=frozenset({Right.MANAGE_DIRECTORY.value}),
        department_ids=frozenset(range_ids),
    )
