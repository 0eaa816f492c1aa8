"""Streams saved from one NATS and restored into another."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import randbytes

import pytest

from engines import build_nats
from tieline.chassis import streams
from tieline.chassis.broker import Broker, connect_admin
from tieline.chassis.stream_snapshots import (
    SnapshotError,
    is_declared,
    restore_stream,
    save_stream,
)
from tieline.embedded.nats import EmbeddedNats

SUBJECT = "tieline.contacts.v1.contact_added"


@pytest.fixture
async def saved(nats: EmbeddedNats, tmp_path: Path) -> tuple[Path, int, int]:
    """A saved stream of which one event is handled; the numbers of its events and of that one."""
    async with connect_admin(nats.url("admin")) as broker:
        jetstream = broker.jetstream()
        for _ in range(3):
            # More than a chunk, all of them together, as they can't be packed smaller.
            await jetstream.publish(SUBJECT, randbytes(100_000))
        consumer = await jetstream.pull_subscribe_bind(stream="CONTACTS", durable="messaging")
        (first,) = await consumer.fetch(1)
        await first.ack_sync()
        (tmp_path / "saved").mkdir()
        count = await save_stream(broker, "CONTACTS", tmp_path / "saved")
        return tmp_path / "saved", count, first.metadata.sequence.stream


async def test_restored_stream_goes_on_where_its_consumers_were(
    saved: tuple[Path, int, int], tmp_path: Path
) -> None:
    folder, count, handled = saved
    async with empty_nats(tmp_path) as (server, broker):
        assert not await is_declared(broker, "CONTACTS")

        assert await restore_stream(broker, folder) == count

        await streams.declare(server.url("admin"))
        place = await broker.jetstream().consumer_info("CONTACTS", "messaging")
        assert place.ack_floor is not None
        assert place.ack_floor.stream_seq == handled
        assert place.num_pending == 2
        # A stream that is there is left as it is.
        with pytest.raises(SnapshotError, match="already in use"):
            await restore_stream(broker, folder)


async def test_backup_that_was_broken_off_is_refused(
    saved: tuple[Path, int, int], nats: EmbeddedNats
) -> None:
    (saved[0] / "backup.json").unlink()

    async with connect_admin(nats.url("admin")) as broker:
        with pytest.raises(SnapshotError, match="broken off"):
            await restore_stream(broker, saved[0])


async def test_stream_that_is_not_there_is_refused(nats: EmbeddedNats, tmp_path: Path) -> None:
    async with connect_admin(nats.url("admin")) as broker:
        with pytest.raises(SnapshotError, match="stream not found"):
            await save_stream(broker, "NOWHERE", tmp_path)


@asynccontextmanager
async def empty_nats(folder: Path) -> AsyncIterator[tuple[EmbeddedNats, Broker]]:
    server = build_nats(folder / "nats")
    with server.running():
        async with connect_admin(server.url("admin")) as broker:
            yield server, broker
