"""TLS on gRPC, NATS and PostgreSQL: what is refused, and rotation without a restart."""

import asyncio
import contextlib
import datetime as dt
import os
import signal
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fakes.certificates import Authority, Issued, issue, replace_file
from fakes.eventually import eventually
from tieline.chassis.broker import connect_admin, connect_broker
from tieline.chassis.broker_tls import BrokerTls
from tieline.chassis.certificates import CertificateFiles, ServerCertificate
from tieline.chassis.errors import UnavailableError
from tieline.chassis.grpc_server import answering_probes
from tieline.chassis.health import DATABASE, Health
from tieline.chassis.postgres import create_pool
from tieline.chassis.process import StartError
from tieline.client import ClientCertificate
from tieline.client.connection import _open_channel
from tieline.embedded.nats import EmbeddedNats, User
from tieline.embedded.ports import find_free_port

ECHO = "/test.Tls/Echo"
SSL_REQUEST = bytes.fromhex("0000000804d2162f")
OLD, NEW = Authority("old"), Authority("new")
# Each with the authority that a client trusts, and a certificate that it must refuse.
REFUSED = {
    "expired": (OLD.pem, OLD.issue(good_from=dt.timedelta(days=-2))),
    "self-signed": (OLD.pem, issue("server", ["localhost", "127.0.0.1"])),
    "wrong-name": (OLD.pem, OLD.issue("tieline.example")),
    "another-authority": (NEW.pem, OLD.issue()),
}


@dataclass
class TlsFiles:
    """The files of one server, written as a renewal writes them."""

    folder: Path

    def write(self, issued: Issued, authority: bytes = OLD.pem) -> "TlsFiles":
        replace_file(self.folder / "ca.crt", authority)
        # The key last: between the two the pair is none, and the one before is shown.
        replace_file(self.folder / "tls.crt", issued.pem)
        replace_file(self.folder / "tls.key", issued.key)
        return self

    def of_server(self, *, asks_clients: bool = False) -> ServerCertificate:
        authority = str(self.folder / "ca.crt") if asks_clients else ""
        return ServerCertificate(
            CertificateFiles(str(self.folder / "tls.crt"), str(self.folder / "tls.key"), authority)
        )


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    return TlsFiles(tmp_path)


@asynccontextmanager
async def serving_tls(credentials: grpc.ServerCredentials) -> AsyncIterator[str]:
    """Serve an echo; yield the target."""
    server = grpc.aio.server()

    async def echo(request: bytes, _: Any) -> bytes:
        return request

    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(echo)
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("test.Tls", {"Echo": handler})]
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    yield f"localhost:{port}"
    await server.stop(0)


async def call(target: str, trusted: bytes, own: ClientCertificate | None = None) -> str:
    """Call on a connection of its own; return how that ended."""
    async with _open_channel(target, True, trusted, own) as channel:
        return await call_on(channel)


async def call_on(channel: grpc.aio.Channel) -> str:
    echo: Any = channel.unary_unary(ECHO)
    try:
        return str((await echo(b"OK", timeout=20)).decode())
    except grpc.aio.AioRpcError as error:
        return str(error.code().name)


@pytest.mark.parametrize("why", REFUSED)
async def test_a_client_refuses_a_server_whose_certificate_is(why: str) -> None:
    trusted, issued = REFUSED[why]

    async with serving_tls(grpc.ssl_server_credentials([(issued.key, issued.pem)])) as target:
        assert await call(target, trusted) == "UNAVAILABLE"


async def test_a_server_that_asks_for_certificates_refuses_strangers(files: TlsFiles) -> None:
    certificate = files.write(OLD.issue()).of_server(asks_clients=True)
    known, stranger, late = (
        ClientCertificate(each.pem, each.key)
        for each in (
            OLD.issue("client"),
            NEW.issue("client"),
            OLD.issue("client", good_from=dt.timedelta(days=-2)),
        )
    )

    async with serving_tls(certificate.credentials()) as target:
        answers = [await call(target, OLD.pem, own) for own in (known, None, stranger, late)]

    assert answers == ["OK", "UNAVAILABLE", "UNAVAILABLE", "UNAVAILABLE"]


async def test_rotation_under_load_loses_no_call_and_the_old_authority_is_refused_after_it(
    files: TlsFiles,
) -> None:
    certificate = files.write(OLD.issue()).of_server()
    answers: list[str] = []

    async def load(target: str, is_over: asyncio.Event) -> None:
        async with _open_channel(target, True, OLD.pem + NEW.pem) as lasting:
            while not is_over.is_set():
                answers.append(await call_on(lasting))
                answers.append(await call(target, OLD.pem + NEW.pem))

    async with serving_tls(certificate.credentials()) as target:
        is_over = asyncio.Event()
        loads = [asyncio.create_task(load(target, is_over)) for _ in range(2)]
        await eventually(lambda: len(answers) >= 8)
        files.write(NEW.issue(), NEW.pem)
        rotated_at = len(answers)
        await eventually(lambda: len(answers) >= rotated_at + 8)
        is_over.set()
        await asyncio.gather(*loads)

        assert set(answers) == {"OK"}
        assert await call(target, OLD.pem) == "UNAVAILABLE"
        assert await call(target, NEW.pem) == "OK"


async def test_probes_are_answered_without_tls_and_nothing_else_is() -> None:
    health, port = Health(), find_free_port()
    health.mark_serving()

    async with (
        answering_probes(health, "127.0.0.1", port),
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        stub: Any = health_pb2_grpc.HealthStub(channel)
        ready = await stub.Check(health_pb2.HealthCheckRequest())
        health.mark_down(DATABASE)
        away = await stub.Check(health_pb2.HealthCheckRequest())
        answer = await call_on(channel)

    assert (ready.status, away.status) == (1, 2)
    assert answer == "UNIMPLEMENTED"


class TlsNats(EmbeddedNats):
    """A nats-server that has a certificate."""

    def _configuration(self) -> dict[str, Any]:
        folder = self.directory.parent
        pair = {"cert_file": str(folder / "tls.crt"), "key_file": str(folder / "tls.key")}
        return {**super()._configuration(), "tls": pair}


@pytest.fixture
def nats_server(files: TlsFiles) -> Iterator[tuple[TlsNats, int]]:
    files.write(OLD.issue())
    server = TlsNats(files.folder / "nats", find_free_port(), [User("identity", "only-for-tests")])
    with server.running() as process_id:
        yield server, process_id


async def test_nats_with_a_new_authority_is_found_again_without_a_restart(
    files: TlsFiles, nats_server: tuple[TlsNats, int]
) -> None:
    server, process_id = nats_server
    url = server.url("identity").replace("nats://", "tls://")
    tls = BrokerTls(str(files.folder / "ca.crt"))
    health = Health()

    async with connect_broker(url, name="identity", health=health, tls=tls) as broker:
        # Renewed by whoever issues certificates, and read by the server when it is told to.
        files.write(NEW.issue(), NEW.pem)
        os.kill(process_id, signal.SIGHUP)
        await eventually(lambda: server_shows(url, NEW.pem, files.folder))
        await broker._process_op_err(ConnectionResetError())
        await eventually(lambda: broker.is_connected)
        await broker.flush()
    old = replace_file(files.folder / "old.crt", OLD.pem)

    with pytest.raises(StartError, match="its certificate is refused"):
        async with connect_admin(url, tls=BrokerTls(str(old))):
            pass


async def server_shows(url: str, authority: bytes, folder: Path) -> bool:
    trusted = replace_file(folder / "shown.crt", authority)
    with contextlib.suppress(StartError):
        async with connect_admin(url, tls=BrokerTls(str(trusted))):
            return True
    return False


@pytest.mark.parametrize("why", REFUSED)
async def test_nats_is_refused_whose_certificate_is(
    files: TlsFiles, nats_server: tuple[TlsNats, int], why: str
) -> None:
    server, process_id = nats_server
    trusted, issued = REFUSED[why]
    files.write(issued, trusted)
    os.kill(process_id, signal.SIGHUP)

    async def is_refused() -> bool:
        # Until the server has read it, it shows the one before, which is good or another's.
        try:
            async with connect_admin(server.url("identity"), tls=tls):
                return False
        except StartError as error:
            return "its certificate is refused" in error.text

    tls = BrokerTls(str(files.folder / "ca.crt"))
    await eventually(is_refused)


async def test_a_password_is_not_sent_to_a_server_that_offers_no_tls(tmp_path: Path) -> None:
    server = EmbeddedNats(tmp_path / "nats", find_free_port(), [User("identity", "for-tests")])
    url = server.url("identity").replace("nats://", "tls://")
    with server.running(), pytest.raises(StartError, match="the server offers no TLS"):
        async with connect_admin(url):
            pass


class TlsFront:
    """Speaks TLS before a PostgreSQL that was built without, as a pooler does."""

    def __init__(self, folder: Path, address: str) -> None:
        self._folder = folder
        self._host, self._port = address.split(":")
        self._serving: set[asyncio.Task[None]] = set()
        self.show(OLD.issue())

    def show(self, issued: Issued) -> None:
        """Show this certificate from the next connection on."""
        pair = replace_file(self._folder / "front.pem", issued.key + issued.pem)
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(pair)

    @contextlib.contextmanager
    def listening(self) -> Iterator[int]:
        """Listen on a loop of its own, in a thread, as another process would."""
        loop = asyncio.SelectorEventLoop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        begun = asyncio.run_coroutine_threadsafe(self._listen(), loop)
        yield begun.result()
        asyncio.run_coroutine_threadsafe(self._end(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _end(self) -> None:
        self._server.close()
        await asyncio.gather(*self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            assert await reader.readexactly(len(SSL_REQUEST)) == SSL_REQUEST
            writer.write(b"S")
            await writer.start_tls(self._context)
            far_reader, far_writer = await asyncio.open_connection(self._host, int(self._port))
            await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))
        except OSError:
            # The client refused the certificate.
            writer.transport.abort()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
    # A close would wait half a minute for the other side's farewell.
    writer.transport.abort()


async def test_postgres_is_verified_at_each_connection_by_the_authority_of_that_moment(
    files: TlsFiles, chassis_dsn: str
) -> None:
    authority = replace_file(files.folder / "ca.crt", OLD.pem)
    credentials, _, rest = chassis_dsn.rpartition("@")
    address, _, name = rest.partition("/")
    front = TlsFront(files.folder, address)

    with front.listening() as port:
        dsn = f"{credentials}@localhost:{port}/{name}?sslmode=verify-full&sslrootcert={authority}"
        async with create_pool(dsn, service="identity", max_size=2, health=Health()) as pool:
            for why, (trusted, issued) in REFUSED.items():
                replace_file(authority, trusted)
                front.show(issued)
                with pytest.raises(StartError, match="certificate verify failed"):
                    async with create_pool(dsn, service=why, max_size=1, health=Health()):
                        pass
                with pytest.raises(UnavailableError):
                    async with pool.connect():
                        pass
            # The pool that is open takes the new authority over at its next connection.
            replace_file(authority, NEW.pem)
            front.show(NEW.issue())
            async with pool.connect() as connection:
                assert await connection.fetchval("SELECT true")
