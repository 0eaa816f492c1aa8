"""One directory by itself, with a production PostgreSQL and NATS, in a temporary folder.

Identity is not started: the benchmark publishes a key of its own in its place and signs the tokens
of as many corps as it likes, which would otherwise each take a password's time.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import grpc
from joserfc import jwt
from joserfc.jwk import OKPKey

from bench.local_platform import temporary_data
from tieline.api.identity.v1 import identity_requests_pb2
from tieline.chassis import migrations, streams
from tieline.chassis.authentication import ALGORITHM, AUDIENCE, ISSUER, TOKEN_ALGORITHMS
from tieline.chassis.broker import BrokerClient
from tieline.chassis.ids import new_corp_id
from tieline.chassis.requests import RequestHandler, answering
from tieline.cli.grpc_health import is_serving
from tieline.embedded.nats import EmbeddedNats, User
from tieline.embedded.ports import find_free_port
from tieline.embedded.postgres import EmbeddedPostgres

_PASSWORD = "only-for-this-benchmark"  # noqa: S105
_KEY_ID = "bench"
_TOKEN_LIFE_S = 3600
_START_TIMEOUT_S = 60.0
_POLL_INTERVAL_S = 0.05
_SERVICES = ("identity", "directory")


@dataclass(frozen=True, slots=True)
class DirectoryServer:
    """A running directory."""

    pid: int
    channel: grpc.aio.Channel
    admin_dsn: str
    """The database, as its superuser."""

    key: OKPKey

    def sign_token(self, corp_id: str) -> str:
        """Return the token of a corp's owner."""
        now = int(time.time())
        claims = {
            **{"kind": "member", "corp": corp_id, "sub": "owner", "roles": ["owner"]},
            **{"iss": ISSUER, "aud": AUDIENCE, "sid": "bench", "name": "Owner"},
            **{"iat": now, "nbf": now, "exp": now + _TOKEN_LIFE_S},
        }
        header = {"alg": ALGORITHM, "kid": _KEY_ID}
        return jwt.encode(header, claims, self.key, registry=TOKEN_ALGORITHMS)

    async def make_corps(self, count: int) -> list[str]:
        """Add corps as if identity had told of them; return their ids."""
        corp_ids = [new_corp_id() for _ in range(count)]
        connection = await asyncpg.connect(self.admin_dsn)
        try:
            await connection.execute(
                "INSERT INTO directory.corps (corp_id) SELECT unnest($1::text[])", corp_ids
            )
            await connection.execute(
                """
                INSERT INTO directory.departments (corp_id, department_id, name, path, ancestor_ids)
                SELECT corp_id, 1, 'Corp', '', '{1}' FROM unnest($1::text[]) AS corp_id
                """,
                corp_ids,
            )
        finally:
            await connection.close()
        return corp_ids


@asynccontextmanager
async def running_directory() -> AsyncIterator[DirectoryServer]:
    """Run the role ``directory`` as a process of its own until the block is left."""
    with temporary_data() as data:
        data.mkdir()
        postgres = EmbeddedPostgres(
            data / "postgres", find_free_port(), superuser_password=_PASSWORD
        )
        nats = _build_nats(data / "nats")
        with postgres.running(), nats.running():
            dsn = await _prepare(postgres, nats)
            key = OKPKey.generate_key("Ed25519", private=True)
            async with (
                _published(key, nats),
                _role(dsn, nats) as (process, target),
                grpc.aio.insecure_channel(target) as channel,
            ):
                yield DirectoryServer(process.pid, channel, dsn, key)


def _build_nats(folder: Path) -> EmbeddedNats:
    users = [User("admin", _PASSWORD)]
    users += [User(name, _PASSWORD, streams.permissions_of(name)) for name in streams.NATS_USERS]
    return EmbeddedNats(folder, find_free_port(), users)


async def _prepare(postgres: EmbeddedPostgres, nats: EmbeddedNats) -> str:
    await streams.declare(nats.url("admin"))
    connection = await asyncpg.connect(postgres.dsn())
    try:
        await connection.execute("CREATE DATABASE tieline")
        dsn = postgres.dsn().rpartition("/")[0] + "/tieline"
        await migrations.migrate(dsn, _SERVICES)
        await connection.execute(f"ALTER ROLE tieline_directory PASSWORD '{_PASSWORD}'")
    finally:
        await connection.close()
    return dsn


@asynccontextmanager
async def _published(key: OKPKey, nats: EmbeddedNats) -> AsyncIterator[None]:
    """Answer in identity's place what the signing keys are."""

    async def get_signing_keys(
        request: identity_requests_pb2.GetSigningKeysRequest,
    ) -> identity_requests_pb2.GetSigningKeysResponse:
        response = identity_requests_pb2.GetSigningKeysResponse()
        response.keys.add(key_id=_KEY_ID, public_key=key.public_key.public_bytes_raw())
        return response

    handler = RequestHandler(identity_requests_pb2.GetSigningKeysRequest, get_signing_keys)
    broker = BrokerClient()
    await broker.connect(nats.url("identity"), inbox_prefix=b"_INBOX.identity")
    try:
        async with answering(broker, "identity", {"get_signing_keys": handler}):
            yield
    finally:
        await broker.close()


@asynccontextmanager
async def _role(
    dsn: str, nats: EmbeddedNats
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    port = find_free_port()
    address = dsn.rpartition("@")[2]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tieline.cli.main", "serve", "directory"),
        env={
            **os.environ,
            "TIELINE_DATABASE_DSN": f"postgresql://tieline_directory:{_PASSWORD}@{address}",
            "TIELINE_NATS_URL": nats.url("directory"),
            "TIELINE_SECRET_KEY": _PASSWORD.ljust(32, "-"),
            "TIELINE_GRPC_PORT": str(port),
            "TIELINE_LOG_LEVEL": "warning",
            # What calls cost is measured at the most that can be done, where admission refuses.
            "TIELINE_ADMISSION": "false",
        },
    )
    target = f"127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not await is_serving(port):
            if process.returncode is not None or time.monotonic() > deadline:
                raise RuntimeError("the directory did not come up")
            await asyncio.sleep(_POLL_INTERVAL_S)
        yield process, target
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
