"""What the operator records, and that it is decided again to the last byte."""

import gzip
from pathlib import Path

import pytest

from fleets import NOW, record, service
from tieline.operator.decision_state import FleetState
from tieline.operator.recording import Recorder, RecordingError, replay
from tieline.operator.scaling_decision import decide

HOUR_S = 3600


def test_recorded_seconds_are_decided_again_to_the_last_byte(tmp_path: Path) -> None:
    record(tmp_path, [300.0] * 20 + [4000.0] * 20)

    seconds = list(replay(tmp_path))

    assert len(seconds) == 40
    assert all(one.is_equal for one in seconds)
    assert seconds[-1].decisions[0].demand_per_s == pytest.approx(4000)


def test_second_that_was_decided_otherwise_is_found(tmp_path: Path) -> None:
    record(tmp_path, [300.0] * 3)
    (file,) = tmp_path.iterdir()
    text = gzip.decompress(file.read_bytes()).decode()
    file.write_bytes(gzip.compress(text.replace('"max_replicas":50', '"max_replicas":3').encode()))

    assert not all(one.is_equal for one in replay(tmp_path))


def test_operator_that_was_killed_leaves_all_but_the_last_seconds(tmp_path: Path) -> None:
    recorder, given = Recorder(tmp_path, 72), [service(300.0)]
    state, decisions = decide(FleetState(), given, NOW)
    recorder.note(FleetState(), given, NOW, None, decisions)
    # Neither flushed nor closed: what a SIGKILL leaves.
    recorder.note(state, given, NOW + 1, None, decisions)

    assert len(list(replay(tmp_path))) == 1
    recorder.close()


def test_recording_goes_on_after_a_restart_and_over_the_hour(tmp_path: Path) -> None:
    record(tmp_path, [300.0] * 5)
    record(tmp_path, [300.0] * 5, start=NOW + 60)
    record(tmp_path, [300.0] * 5, start=NOW + HOUR_S - 2)

    assert [one.is_equal for one in replay(tmp_path)] == [True] * 15
    assert len(list(tmp_path.iterdir())) == 2


def test_files_that_are_too_old_are_deleted(tmp_path: Path) -> None:
    for hour in range(4):
        record(tmp_path, [300.0], start=NOW + hour * HOUR_S, hours=2)

    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"no gzip", id="no gzip"),
        pytest.param(gzip.compress(b"{}\n"), id="no second"),
        pytest.param(gzip.compress(b"?\n"), id="no JSON"),
    ],
)
def test_what_is_no_recording_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "2026-11-26T09.jsonl.gz"
    file.write_bytes(content)

    with pytest.raises(RecordingError, match=r"2026-11-26T09\.jsonl\.gz"):
        list(replay(file))


def test_folder_without_a_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="holds no recording"):
        list(replay(tmp_path))
