"""The open response streams of a server, and what ends them before their time.

A unary call that was admitted is finished. A stream may stay open for hours, and so it ends when
its caller's token does, when that token is revoked, or when the replica goes away.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tieline.chassis.authentication import token_expired_error
from tieline.chassis.errors import ServiceError, UnavailableError
from tieline.chassis.health import RETRY_AFTER_S
from tieline.chassis.principals import Principal
from tieline.chassis.revocation_list import RevocationList

# However many revocations come at once, the streams are looked through five times a second.
_LOOK_INTERVAL_S = 0.2


@dataclass(slots=True)
class _OpenStream:
    principal: Principal | None
    """None for anonymous callers."""

    end: ServiceError | None = None
    """Why the stream's task is being cancelled; None where that is somebody else's doing."""


class ResponseStreams:
    """The streams by their tasks."""

    def __init__(self, revocations: RevocationList) -> None:
        self._revocations = revocations
        self._streams: dict[asyncio.Task[object], _OpenStream] = {}
        self._is_look_due = False
        revocations.listen(self._look_soon)

    @asynccontextmanager
    async def open(self, principal: Principal | None) -> AsyncIterator[None]:
        """Hold a stream open within the block; ServiceError tells the client why it ended."""
        task = asyncio.current_task()
        assert task is not None, "gRPC runs handlers in tasks"
        stream = self._streams[task] = _OpenStream(principal)
        limit = asyncio.timeout(_token_left_s(principal))
        try:
            async with limit:
                yield
        except TimeoutError:
            if not limit.expired():
                raise
            # Whoever lost the session would otherwise go on receiving for ever.
            raise token_expired_error() from None
        except asyncio.CancelledError:
            if stream.end is None:
                raise
            task.uncancel()
            raise stream.end from None
        finally:
            del self._streams[task]

    def end_all(self) -> None:
        """End every stream with SHUTTING_DOWN: subscribers go to another replica."""
        for task, stream in list(self._streams.items()):
            error = UnavailableError(
                "SHUTTING_DOWN", "this replica is shutting down", retry_after_s=RETRY_AFTER_S
            )
            _end(task, stream, error)

    def _look_soon(self) -> None:
        if not self._is_look_due and self._streams:
            self._is_look_due = True
            asyncio.get_running_loop().call_later(_LOOK_INTERVAL_S, self._end_revoked)

    def _end_revoked(self) -> None:
        self._is_look_due = False
        for task, stream in list(self._streams.items()):
            if stream.principal is not None and self._revocations.is_revoked(stream.principal):
                _end(task, stream, token_expired_error())


def _end(task: "asyncio.Task[object]", stream: _OpenStream, error: ServiceError) -> None:
    # A second cancellation would interrupt what the first one has to clean up.
    if stream.end is None:
        stream.end = error
        task.cancel()


def _token_left_s(principal: Principal | None) -> float | None:
    """Return the seconds until the caller's token ends; None for anonymous calls."""
    if principal is None or math.isinf(principal.expire_time):
        return None
    return max(0.0, principal.expire_time - time.time())
