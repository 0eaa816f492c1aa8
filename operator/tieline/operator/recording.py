"""What went into the decisions of the last days, in files, so that they can be decided again.

One file an hour, ``2026-11-26T09.jsonl.gz``, compressed lines of JSON: the state before the first
second, then each second's input with the digest of what was decided. A file stands for itself. An
operator that is killed loses the last seconds; the file stays readable up to there.
"""

import datetime as dt
import gzip
import hashlib
import json
import logging
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tieline.operator.decision_state import FleetState, ServiceDecision, ServiceInput
from tieline.operator.scaling_decision import decide
from tieline.operator.state_json import from_json, to_json

_SUFFIX = ".jsonl.gz"
_HOUR = "%Y-%m-%dT%H"
_FLUSH_S = 10.0
_LEVEL = 1
"""Of compression; the decision waits for it."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RecordedSecond:
    """What one decision was made of."""

    now: float
    room: int | None
    services: tuple[ServiceInput, ...]
    digest: str
    """Of what was decided."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """One recorded second, decided again."""

    now: float
    decisions: tuple[ServiceDecision, ...]
    is_equal: bool
    """Whether the same was decided, to the last byte."""


class RecordingError(Exception):
    """A recording can't be read; the text says why."""


class Recorder:
    """Writes seconds down, and deletes the files that are too old."""

    def __init__(self, folder: Path, hours: int) -> None:
        self._folder = folder
        self._hours = hours
        self._file: gzip.GzipFile | None = None
        self._hour = ""
        self._flush_time = 0.0

    def note(
        self,
        before: FleetState,
        services: Sequence[ServiceInput],
        now: float,
        room: int | None,
        decisions: Sequence[ServiceDecision],
    ) -> None:
        """Write one second down. A disk that is full ends the recording and nothing else."""
        try:
            file = self._open(before, now)
            second = RecordedSecond(now, room, tuple(services), digest_of(decisions))
            file.write(to_json(second).encode() + b"\n")
            if now - self._flush_time >= _FLUSH_S:
                file.flush()
                self._flush_time = now
        except OSError as error:
            logger.warning("the recording goes on in the next second: %s", error)
            self._hour = ""

    def close(self) -> None:
        """End the file that is being written."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self, before: FleetState, now: float) -> gzip.GzipFile:
        hour = dt.datetime.fromtimestamp(now, dt.UTC).strftime(_HOUR)
        if self._file is None or hour != self._hour:
            self.close()
            self._folder.mkdir(parents=True, exist_ok=True)
            self._delete_old(now)
            # After a restart within the hour it goes on behind what is there, with its state.
            self._file = gzip.GzipFile(self._folder / f"{hour}{_SUFFIX}", "ab", _LEVEL)
            self._hour = hour
            self._file.write(to_json(before).encode() + b"\n")
        return self._file

    def _delete_old(self, now: float) -> None:
        oldest = dt.datetime.fromtimestamp(now, dt.UTC) - dt.timedelta(hours=self._hours)
        for file in self._folder.glob(f"*{_SUFFIX}"):
            if file.name < oldest.strftime(_HOUR):
                file.unlink(missing_ok=True)


def digest_of(decisions: Sequence[ServiceDecision]) -> str:
    """Return what equal decisions have in common, and others do not."""
    return hashlib.sha256(to_json(tuple(decisions)).encode()).hexdigest()[:32]


def replay(path: Path) -> Iterator[Replayed]:
    """Decide every second of a recording again: one file, or a folder's files in order."""
    files = sorted(path.glob(f"*{_SUFFIX}")) if path.is_dir() else [path]
    if not files:
        raise RecordingError(f"{path} holds no recording (*{_SUFFIX})")
    for file in files:
        yield from _replay_file(file)


def _replay_file(path: Path) -> Iterator[Replayed]:
    state = FleetState()
    for number, line in enumerate(_read_lines(path), start=1):
        try:
            if "services" in (found := json.loads(line)) and "digest" not in found:
                state = from_json(FleetState, line)
                continue
            second = from_json(RecordedSecond, line)
        except (ValueError, TypeError) as error:
            raise RecordingError(f"{path}, line {number}: {error}") from error
        state, decisions = decide(state, second.services, second.now, second.room)
        yield Replayed(second.now, decisions, digest_of(decisions) == second.digest)


def _read_lines(path: Path) -> Iterator[str]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                if line.endswith("\n"):
                    yield line
    except EOFError:
        # The operator was killed, or writes it just now: what came before is whole.
        return
    except (OSError, zlib.error, UnicodeDecodeError) as error:
        raise RecordingError(f"{path} is no recording: {error}") from error
