"""Streams as files: a backup of one, its consumers' places included, and its restoration.

A folder a stream, with what JetStream's snapshots consist of:

    stream.tar.s2    the events and consumers, as the server packs them
    backup.json      the stream's configuration and state; written last, so that a folder without it
                     is a backup that was broken off
"""

import json
from pathlib import Path
from typing import Any, BinaryIO

import nats.errors
from nats.aio.subscription import Subscription

from tieline.chassis.broker import Broker
from tieline.chassis.process import StartError

_CONTENT = "stream.tar.s2"
_DESCRIPTION = "backup.json"

# A chunk is one message; the server takes up to 1 MiB.
_CHUNK_BYTES = 128 * 1024

# The server packs a stream while it sends it; one that says nothing for so long is gone.
_TIMEOUT_S = 30.0

_STREAM_NOT_FOUND = 10059
_COMPLETE = "204"


class SnapshotError(StartError):
    """A stream that can't be saved or restored: one line that says what to do."""


async def save_stream(broker: Broker, stream: str, folder: Path) -> int:
    """Write the stream into the folder, which is empty; return how many events it has.

    The stream goes on meanwhile: what is published after the beginning is not in it.
    """
    inbox = broker.new_inbox()
    chunks = await broker.subscribe(inbox)
    request = {"deliver_subject": inbox, "chunk_size": _CHUNK_BYTES, "no_consumers": False}
    description = await _ask(broker, f"STREAM.SNAPSHOT.{stream}", request)
    with (folder / _CONTENT).open("xb") as file:
        try:
            status = await _receive(broker, chunks, file)
        except nats.errors.Error as error:
            raise SnapshotError(f"NATS broke the backup of {stream} off: {error}") from error
    if status != _COMPLETE:
        raise SnapshotError(f"NATS broke the backup of {stream} off with status {status}")
    kept = {"config": description["config"], "state": description["state"]}
    with (folder / _DESCRIPTION).open("xb") as file:
        file.write(json.dumps(kept, indent=1).encode())
    return int(description["state"]["messages"])


async def restore_stream(broker: Broker, folder: Path) -> int:
    """Make the stream that the folder holds, which must not be there; return its events' number."""
    description = _read_description(folder)
    stream = description["config"]["name"]
    begun = await _ask(broker, f"STREAM.RESTORE.{stream}", description)
    target: str = begun["deliver_subject"]
    with (folder / _CONTENT).open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            await _pass(broker, target, chunk)
    # An empty one is the end; its answer tells of the stream.
    restored = await _pass(broker, target, b"")
    return int(restored["state"]["messages"])


async def is_declared(broker: Broker, stream: str) -> bool:
    """Tell whether the stream is there."""
    answer = await _request(broker, f"$JS.API.STREAM.INFO.{stream}", b"")
    code: int | None = answer.get("error", {}).get("err_code")
    return code != _STREAM_NOT_FOUND


async def _receive(broker: Broker, chunks: Subscription, file: BinaryIO) -> str:
    """Write what comes into the file; return the status with which it ends."""
    # Each chunk is answered: the server sends no more than a window ahead.
    while (chunk := await chunks.next_msg(timeout=_TIMEOUT_S)).data:
        file.write(chunk.data)
        if chunk.reply:
            await broker.publish(chunk.reply)
    await chunks.unsubscribe()
    return (chunk.headers or {}).get("Status", _COMPLETE)


def _read_description(folder: Path) -> dict[str, Any]:
    try:
        description: dict[str, Any] = json.loads((folder / _DESCRIPTION).read_text())
    except FileNotFoundError:
        raise SnapshotError(
            f"{folder} has no {_DESCRIPTION}: it is no backup, or one that was broken off"
        ) from None
    return description


async def _ask(broker: Broker, method: str, request: dict[str, Any]) -> dict[str, Any]:
    return _accepted(await _request(broker, f"$JS.API.{method}", json.dumps(request).encode()))


async def _pass(broker: Broker, subject: str, chunk: bytes) -> dict[str, Any]:
    return _accepted(await _request(broker, subject, chunk))


async def _request(broker: Broker, subject: str, payload: bytes) -> dict[str, Any]:
    try:
        answer = await broker.request(subject, payload, timeout=_TIMEOUT_S)
    except nats.errors.Error as error:
        raise SnapshotError(f"NATS does not answer {subject}: {error}; is JetStream on?") from error
    parsed: dict[str, Any] = json.loads(answer.data or b"{}")
    return parsed


def _accepted(answer: dict[str, Any]) -> dict[str, Any]:
    error = answer.get("error")
    if error is not None:
        raise SnapshotError(f"NATS refused: {error.get('description', error)}")
    return answer
