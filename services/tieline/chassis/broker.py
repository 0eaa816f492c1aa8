"""The connection to NATS: it comes back by itself, and health knows while it is away."""

import asyncio
import contextlib
import logging
import math
import re
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import nats.errors
import nats.js.errors
from nats.aio.client import DEFAULT_FLUSH_TIMEOUT, Client

from tieline.chassis.broker_tls import NO_FILES, BrokerTls
from tieline.chassis.errors import UnavailableError
from tieline.chassis.health import BROKER, RETRY_AFTER_S, Health
from tieline.chassis.process import StartError

Broker: TypeAlias = Client

CONNECT_TIMEOUT_S = 2
_START_TIMEOUT_S = 5.0

OLDEST_NATS = (2, 11)
"""The oldest version, major and minor, that is supported, as the chart's values name it; consumers
of several subjects alone would need 2.10."""

_RECONNECT_WAIT_S = 0.5

# Two unanswered pings: a server that is gone without a word is noticed within 30 s.
_PING_INTERVAL_S = 10
_MAX_OUTSTANDING_PINGS = 2

# What may wait in this process for a socket that is slow or away. Beyond it, publishing raises.
_MAX_PENDING_BYTES = 8 * 1024 * 1024

_DRAIN_TIMEOUT_S = 5

_VERSION = re.compile(r"v?(\d+)\.(\d+)")

logger = logging.getLogger(__name__)


class BrokerClient(Client):
    """nats-py's client, with a flush that keeps its promise and a close that ends.

    A socket that died is noticed by whoever writes first, often before the client's reader: uvloop
    refuses the write with a RuntimeError, which nobody expects who expects a lost connection.
    """

    def __init__(self, tls: BrokerTls = NO_FILES, *, requires_tls: bool = False) -> None:
        super().__init__()
        self._tls = tls
        self._requires_tls = requires_tls

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """The context of the connection that begins; asked for at each, so files may change."""
        return self._tls.context()

    @property
    def server_version(self) -> str:
        """What the server that it is connected to calls its version; empty where none is known."""
        return str(self._server_info.get("version", ""))

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        # nats-py sends the password in the clear to whoever says that there is no TLS.
        if initial_connection and self._requires_tls and not info.get("tls_required"):
            raise nats.errors.Error("the server offers no TLS")
        await super()._process_info(info, initial_connection)

    async def _process_connect_init(self) -> None:
        try:
            await super()._process_connect_init()
        except (OSError, TimeoutError, nats.errors.Error):
            # Where a handshake failed, the loop has closed the socket and its stream never hears
            # of that: a close that waits for it would wait for ever.
            if self._transport is not None:
                self._transport.close()  # type: ignore[no-untyped-call]
                # TLS would say goodbye first, and the socket under it outlive who knows of it.
                writer = getattr(self._transport, "_io_writer", None)
                if writer is not None:
                    writer.transport.abort()
                self._transport = None
            raise

    async def flush(
        self,
        timeout: int = DEFAULT_FLUSH_TIMEOUT,  # noqa: ASYNC109 -- nats-py named it
    ) -> None:
        """Return once the server has everything that was sent before, subscriptions included.

        nats-py writes its PING past what still waits for its flusher, so that the answer would tell
        nothing of a subscription made just before: seen as questions that nobody answers.
        """
        if self.is_connected:
            await self._flush_pending(force_flush=True)
        await super().flush(timeout)

    async def _process_pong(self) -> None:
        # The one who waits for it may have given up. nats-py answers even so, its reader ends by
        # the error, and the connection hears nothing more until its own pings are missed.
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    async def _flush_pending(self, force_flush: bool = False) -> Any:
        # Whatever is sent comes through here, an unsubscription and a drain as well.
        try:
            return await super()._flush_pending(force_flush)
        except RuntimeError as error:
            raise ConnectionResetError(f"the connection is lost: {error}") from error

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        # nats-py writes what still waits, whatever became of the socket meanwhile, and where that
        # fails leaves half of the closing undone. With nothing waiting there is nothing to fail.
        try:
            await self._close_once(status, do_cbs)
        except (OSError, RuntimeError):
            self._pending = []
            self._pending_data_size = 0
            self._status = Client.DISCONNECTED
            await self._close_once(status, do_cbs)

    async def _close_once(self, status: int, do_cbs: bool) -> None:
        try:
            await super()._close(status, do_cbs)
        except asyncio.CancelledError:
            # nats-py cancels its own reconnecting, which may be waiting for the socket's end: then
            # that is cancelled too, for whoever waits for it next. It is the last step.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise


class _StartGivenUpError(Exception):
    """The time for the first connection is over."""


@asynccontextmanager
async def connect_broker(
    url: str, *, name: str, health: Health, tls: BrokerTls = NO_FILES
) -> AsyncIterator[Broker]:
    """Connect as ``name`` and keep the connection until the block is left.

    Replies arrive on inboxes ``_INBOX.<name>.…``, so that one service's user can't read another's.
    While NATS is away, ``health`` has it marked down, and whatever is published waits in memory:
    ask ``check_connected`` first where that is wrong. StartError names the setting when NATS is
    away at the start. A ``tls://`` URL, or files in ``tls``, refuse a server without TLS.
    """
    broker = BrokerClient(tls, requires_tls=tls.is_wanted(url))
    watch = _Watch(broker, health)
    await _connect(
        broker,
        url,
        watch,
        way_out="start it, or correct the setting TIELINE_NATS_URL",
        name=f"tieline-{name}",
        disconnected_cb=watch.on_disconnected,
        reconnected_cb=watch.on_reconnected,
        closed_cb=watch.on_closed,
        reconnect_time_wait=_RECONNECT_WAIT_S,
        max_reconnect_attempts=-1,
        ping_interval=_PING_INTERVAL_S,
        max_outstanding_pings=_MAX_OUTSTANDING_PINGS,
        inbox_prefix=f"_INBOX.{name}",
        pending_size=_MAX_PENDING_BYTES,
        drain_timeout=_DRAIN_TIMEOUT_S,
    )
    try:
        yield broker
    finally:
        watch.is_closing = True
        await _close(broker)


@asynccontextmanager
async def connect_admin(url: str, *, tls: BrokerTls = NO_FILES) -> AsyncIterator[Broker]:
    """Connect for one task of administration; StartError when NATS is away."""
    broker = BrokerClient(tls, requires_tls=tls.is_wanted(url))
    watch = _Watch(broker, None)
    await _connect(
        broker,
        url,
        watch,
        way_out="start it, or correct the URL",
        name="tieline-administration",
        allow_reconnect=False,
        max_reconnect_attempts=1,
        reconnect_time_wait=_RECONNECT_WAIT_S,
    )
    try:
        yield broker
    finally:
        watch.is_closing = True
        await broker.close()


class _Watch:
    """Hears what happens to a connection, and keeps health and the log informed."""

    def __init__(self, broker: Broker, health: Health | None) -> None:
        self.is_closing = False
        self.last_problem: Exception | None = None
        self.give_up_at = math.inf
        """``time.monotonic()`` from which on a failed attempt is the last one."""

        self._broker = broker
        self._health = health

    async def on_disconnected(self) -> None:
        if not self.is_closing:
            logger.warning("NATS is away; reconnecting")
            self._mark_down()

    async def on_reconnected(self) -> None:
        logger.info("NATS is back")
        if self._health is not None:
            self._health.mark_up(BROKER)

    async def on_closed(self) -> None:
        # Only a refused login ends the reconnecting; readiness stays false until a restart.
        if not self.is_closing:
            logger.error("NATS closed the connection for good")
            self._mark_down()

    async def on_error(self, error: Exception) -> None:
        self.last_problem = error
        if time.monotonic() >= self.give_up_at:
            raise _StartGivenUpError
        # JetStream's refusals reach whoever published, and hundreds may be refused together.
        if isinstance(error, nats.js.errors.APIError):
            return
        if self._broker.is_connected and not self.is_closing:
            logger.warning("NATS: %s", _describe(error))

    def _mark_down(self) -> None:
        if self._health is not None:
            self._health.mark_down(BROKER)


async def _connect(
    broker: BrokerClient, url: str, watch: _Watch, *, way_out: str, **options: Any
) -> None:
    # Not by asyncio.timeout: an attempt that fails at the moment of the cancellation swallows it
    # (asyncio.wait_for before Python 3.12), and the client would try for ever.
    watch.give_up_at = time.monotonic() + _START_TIMEOUT_S
    try:
        await broker.connect(
            url, error_cb=watch.on_error, connect_timeout=CONNECT_TIMEOUT_S, **options
        )
    except (_StartGivenUpError, OSError, ValueError, nats.errors.Error) as error:
        watch.is_closing = True
        watch.give_up_at = math.inf
        await _close_half_open(broker)
        raise StartError(
            f"can't connect to NATS at {_describe_address(url)}: "
            f"{_describe(watch.last_problem or error)}; {way_out}"
        ) from None
    watch.give_up_at = math.inf
    try:
        check_server_version(broker.server_version, url)
    except StartError:
        watch.is_closing = True
        await broker.close()
        raise


def check_server_version(version: str, url: str) -> None:
    """Raise StartError where NATS is older than what the streams are declared for."""
    found = _VERSION.match(version)
    if found is None or tuple(map(int, found.groups())) < OLDEST_NATS:
        raise StartError(
            f"NATS at {_describe_address(url)} is version {version}, Tieline needs "
            f"{'.'.join(map(str, OLDEST_NATS))} or newer: upgrade the server, or name another one"
        )


async def _close_half_open(broker: Broker) -> None:
    # A malformed URL fails before the client has anything to close, which then trips over that.
    with contextlib.suppress(AssertionError, OSError, nats.errors.Error):
        await broker.close()


def check_connected(broker: Broker) -> None:
    """Raise UnavailableError BROKER_UNAVAILABLE while the connection is away."""
    if not broker.is_connected:
        raise broker_unavailable_error()


def broker_unavailable_error() -> UnavailableError:
    """Return the error of what can't be done while NATS is away."""
    return UnavailableError(
        "BROKER_UNAVAILABLE",
        "the message broker can't be reached",
        retry_after_s=RETRY_AFTER_S,
    )


async def _close(broker: Broker) -> None:
    try:
        if broker.is_connected:
            async with asyncio.timeout(_DRAIN_TIMEOUT_S + 1):
                await broker.drain()
    except (TimeoutError, OSError, nats.errors.Error) as error:
        logger.warning("NATS went away while draining: %s", _describe(error))
    finally:
        await broker.close()


def _describe_address(url: str) -> str:
    try:
        parts = urlsplit(url)
        return f"{parts.hostname or 'localhost'}:{parts.port or 4222}"
    except ValueError:
        return "an address that is no URL"


def _describe(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused ({error.verify_message})"
    if isinstance(error, OSError):
        return error.strerror or "connection refused or lost"
    if isinstance(error, ValueError):
        return "the URL is malformed"
    return str(error) or type(error).__name__
