"""A client that sends whatever it is told to over HTTP/2, which no gRPC client would."""

import asyncio
from collections.abc import Mapping, Sequence

import h2.config
import h2.connection
import h2.events

_READ_BYTES = 65_536
_TIMEOUT_S = 20


async def request(
    port: int,
    path: str,
    *,
    method: str = "POST",
    headers: Mapping[str, str],
    body: Sequence[bytes] = (),
    is_ended: bool = True,
    trickle_s: float = 0,
) -> Mapping[str, str]:
    """Send a request on a connection of its own; return the head of the answer, trailers included.

    The parts of the body go out as frames; without ``is_ended`` the request has no end,
    and with ``trickle_s`` another byte each so many seconds.
    """
    async with asyncio.timeout(_TIMEOUT_S):
        return await _request(port, path, method, headers, body, is_ended, trickle_s)


async def _request(
    port: int,
    path: str,
    method: str,
    headers: Mapping[str, str],
    body: Sequence[bytes],
    is_ended: bool,
    trickle_s: float,
) -> Mapping[str, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    connection = h2.connection.H2Connection(
        h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
    )
    connection.initiate_connection()
    pseudo = {":method": method, ":scheme": "http", ":authority": "test", ":path": path}
    connection.send_headers(1, list({**pseudo, **headers}.items()), is_ended and not body)
    for number, part in enumerate(body, start=1):
        connection.send_data(1, part, end_stream=is_ended and number == len(body))
    answer: dict[str, str] = {}
    trickling = asyncio.create_task(_trickle(connection, writer, trickle_s))
    try:
        while True:
            writer.write(connection.data_to_send())
            received = await reader.read(_READ_BYTES)
            if not received:
                return answer
            for event in connection.receive_data(received):
                if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                    answer |= {str(name): str(value) for name, value in event.headers}
                elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
                    return answer
    finally:
        trickling.cancel()
        writer.close()


async def _trickle(
    connection: h2.connection.H2Connection, writer: asyncio.StreamWriter, every_s: float
) -> None:
    while every_s:
        await asyncio.sleep(every_s)
        connection.send_data(1, b"x")
        writer.write(connection.data_to_send())
