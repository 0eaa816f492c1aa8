"""What is stored of audit entries, what can be asked for, how they are exported."""

import csv
import datetime as dt
import io
import json
from dataclasses import replace

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from tieline.api.common.v1 import audit_pb2, principal_pb2
from tieline.chassis.errors import InvalidArgumentError
from tieline.identity.audit.export import (
    CHUNK_BYTES,
    Chunks,
    ExportFormat,
    write_header,
    write_lines,
)
from tieline.identity.audit.log import Entry, build_filter, read_entry, to_message

EVENT_ID = "018f3d2e-7c1a-7b6e-9f00-3a5b8c2d1e4f"
MEMBER = principal_pb2.PRINCIPAL_KIND_MEMBER
NOW = dt.datetime(2026, 2, 24, 9, 30, tzinfo=dt.UTC)
ENTRY = Entry(
    corp_id="ww1",
    act_time=NOW,
    event_id=EVENT_ID,
    actor_kind="member",
    actor_id="li.wei",
    action="directory.member.delete",
    resource="members/wang",
    details={"reason": "left"},
    address="192.0.2.7",
    request_id="r1",
)


def message(**changes: object) -> audit_pb2.AuditEntry:
    entry = to_message(ENTRY)
    entry.MergeFrom(audit_pb2.AuditEntry(**changes))  # type: ignore[arg-type]
    return entry


def test_an_entry_comes_out_as_it_went_in() -> None:
    assert read_entry("directory", "ww1", to_message(ENTRY)) == ENTRY


def test_what_does_not_fit_is_cut_and_nothing_is_refused() -> None:
    long = message(
        action="directory." + "a" * 200,
        resource="r" * 500,
        address="a" * 500,
        details={"k" * 300: "v\x00" * 300, **{f"n{i:02}": "" for i in range(30)}},
    )

    entry = read_entry("directory", "ww1", long)

    assert entry is not None
    assert len(entry.details) == 20
    assert entry.details["k" * 256] == ("v\ufffd" * 128)
    assert (len(entry.action), len(entry.resource), len(entry.address)) == (100, 200, 128)


def test_a_service_writes_down_its_own_acts_alone() -> None:
    entry = read_entry("payments", "ww1", to_message(ENTRY))

    assert entry is not None
    assert entry.action == "payments.directory.member.delete"


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(message(event_id="1"), id="no UUID"),
        pytest.param(message(corp_id="ww2"), id="another corp than its event's"),
        pytest.param(message(act_time=Timestamp(seconds=10**12)), id="no time"),
    ],
)
def test_what_can_not_be_an_entry_is_none(wrong: audit_pb2.AuditEntry) -> None:
    assert read_entry("directory", "ww1", wrong) is None


def test_all_wrong_conditions_are_named_at_once() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        build_filter(
            Timestamp(seconds=-1),
            Timestamp(seconds=10**12),
            principal_pb2.PrincipalRef(kind=99, id="x" * 129),  # type: ignore[arg-type]
            "a" * 101,
            "a\x00",
        )

    assert set(caught.value.violations) == {
        "filter.start_time",
        "filter.end_time",
        "filter.actor.kind",
        "filter.actor.id",
        "filter.action_prefix",
        "filter.resource",
    }


def test_a_time_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        build_filter(
            Timestamp(seconds=2), Timestamp(seconds=1), principal_pb2.PrincipalRef(), "", ""
        )

    assert list(caught.value.violations) == ["filter.end_time"]


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_csv_line_reads_back_as_the_entry_and_holds_no_formula(name: str, actor_id: str) -> None:
    entry = replace(ENTRY, actor_id=actor_id, details={name: "=1+1"})

    text = b"".join(
        [write_header(ExportFormat.CSV), *write_lines([entry], ExportFormat.CSV)]
    ).decode()
    [row] = csv.DictReader(io.StringIO(text, newline=""))

    assert json.loads(row["details"]) == entry.details
    assert row["actorId"] in (actor_id, f"'{actor_id}")
    assert not any(value.startswith(("=", "+", "-", "@", "\t", "\r")) for value in row.values())
    assert (row["actTime"], row["eventId"]) == ("2026-02-24T09:30:00.000000Z", EVENT_ID)


@given(st.text(max_size=20))
def test_a_json_line_is_one_line_and_reads_back_as_the_entry(value: str) -> None:
    entry = replace(ENTRY, details={"value": value})

    [line] = write_lines([entry], ExportFormat.JSON_LINES)

    assert line.count(b"\n") == 1
    read = json.loads(line)
    assert read["details"] == {"value": value}
    assert read["actor"] == {"kind": "member", "id": "li.wei"}


def test_chunks_are_bounded_and_end_with_a_line() -> None:
    chunks = Chunks()
    line = b"x" * 999 + b"\n"

    taken = [chunk for _ in range(1000) if (chunk := chunks.add(line)) is not None]

    assert len(taken) == 1000 * 1000 // CHUNK_BYTES
    assert all(chunk.endswith(b"\n") and len(chunk) < CHUNK_BYTES + 1000 for chunk in taken)
    assert sum(map(len, taken)) + len(chunks.take()) == 1_000_000
