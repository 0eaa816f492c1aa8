"""What can be no request at all, as bytes on the wire: refused, and nothing is stored."""

from typing import Any

import grpc
import pytest

from integration.identity.world import TIMEOUT_S, Identity, Metadata, bearer

NOT_UTF8 = b"\xff\xfe\xfd"
SERVICE = "/tieline.api.identity.v1.IdentityService"


async def call(
    identity: Identity, method: str, request: bytes, metadata: Metadata = ()
) -> grpc.StatusCode:
    """Send bytes in place of a request; return what became of it."""
    send: Any = identity.channel.unary_unary(f"{SERVICE}/{method}")
    try:
        await send(request, metadata=metadata, timeout=TIMEOUT_S)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def field(number: int, contents: bytes) -> bytes:
    """Return a field of length-delimited contents as protobuf writes it."""
    length, size = b"", len(contents)
    while size > 0x7F:
        length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + contents


async def count_corps(identity: Identity) -> int:
    [row] = await identity.execute("SELECT count(*) FROM identity.corps")
    count: int = row["count"]
    return count


@pytest.mark.parametrize("method", ["SignInMember", "AcceptInvitation", "CreateCorp"])
async def test_a_text_that_is_no_utf8_is_refused(identity: Identity, method: str) -> None:
    before = await count_corps(identity)

    code = await call(identity, method, field(2, NOT_UTF8), identity.platform)

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert await count_corps(identity) == before


@pytest.mark.parametrize("method", ["SignInMember", "CreateCorp"])
async def test_a_message_of_10_mb_is_refused_and_the_connection_goes_on(
    identity: Identity, method: str
) -> None:
    corp = await identity.new_corp()
    before = await count_corps(identity)

    code = await call(identity, method, field(3, b"x" * 10_000_000), identity.platform)

    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await count_corps(identity) == before
    assert (await identity.get_corp(bearer(corp.owner_session))).corp.corp_id == corp.corp_id
