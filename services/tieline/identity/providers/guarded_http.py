"""HTTP requests to addresses that a corp's administrator chose: they reach the public net alone.

The host is resolved here, each of its addresses is looked at, and the connection is made to the one
that was looked at: a name that means another address a moment later gains nothing. No redirect is
followed, and no answer is read beyond a bound, nor one that is compressed.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from typing import Any

import httpx

from tieline.chassis.addresses import Network

# A key set of a hundred keys has some 100 KiB.
MAX_RESPONSE_BYTES = 512 * 1024

_TIMEOUT_S = 5.0
_IDENTITY = "identity"


class RefusedError(Exception):
    """The request must not be made, or its answer not be read; the text says why."""


class _GuardedTransport(httpx.AsyncBaseTransport):
    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = allowed
        # A connection is for one name: kept open, it would serve every name at its address.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._transport = httpx.AsyncHTTPTransport(trust_env=False, limits=limits)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        address = await self._find_address(host, request.url.port or 443)
        if request.url.scheme != "https" and not address.is_loopback:
            raise RefusedError("only https is allowed")
        # The certificate is still that of the name.
        request.extensions = {**request.extensions, "sni_hostname": host}
        request.url = request.url.copy_with(host=str(address))
        return await self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def _find_address(
        self, host: str, port: int
    ) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                host, port, type=socket.SOCK_STREAM
            )
        except (OSError, UnicodeError) as error:
            raise RefusedError(f"{host} can't be resolved") from error
        addresses = [ipaddress.ip_address(entry[4][0]) for entry in found]
        for address in addresses:
            is_allowed = any(address in network for network in self._allowed)
            if not is_allowed and (not address.is_global or address.is_multicast):
                raise RefusedError(f"{host} is at an address that is not public")
        return addresses[0]


class GuardedClient:
    """Fetches JSON; RefusedError or httpx.HTTPError where that can't be had.

    ``allowed`` are networks beside the public ones. To be closed.
    """

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._client = httpx.AsyncClient(
            transport=_GuardedTransport(allowed), timeout=_TIMEOUT_S, follow_redirects=False
        )

    async def get_json(self, url: str) -> Any:
        """Return what is at the URL."""
        return await self._send(self._client.build_request("GET", url))

    async def post_form(self, url: str, headers: dict[str, str], body: str) -> Any:
        """Return the answer to a form."""
        form = {**headers, "content-type": "application/x-www-form-urlencoded"}
        return await self._send(self._client.build_request("POST", url, headers=form, content=body))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _send(self, request: httpx.Request) -> Any:
        request.headers["accept"] = "application/json"
        request.headers["accept-encoding"] = _IDENTITY
        # Of the whole exchange: httpx's own limits begin anew with each part of an answer.
        async with asyncio.timeout(_TIMEOUT_S):
            response = await self._client.send(request, stream=True)
            try:
                return self._read(response, await _read_bounded(response))
            finally:
                await response.aclose()

    def _read(self, response: httpx.Response, body: bytes) -> Any:
        if response.status_code != httpx.codes.OK:
            raise RefusedError(f"the answer has status {response.status_code}")
        try:
            return httpx.Response(200, content=body).json()
        except (ValueError, RecursionError) as error:
            raise RefusedError("the answer is no JSON") from error


async def _read_bounded(response: httpx.Response) -> bytes:
    # A part of 64 KiB decodes to 64 MiB, before anybody can count them.
    if response.headers.get("content-encoding", _IDENTITY).lower() != _IDENTITY:
        raise RefusedError("the answer is encoded, although none of that was asked for")
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) > MAX_RESPONSE_BYTES:
            raise RefusedError("the answer is too long")
    return bytes(body)
