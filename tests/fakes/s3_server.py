"""S3-compatible storage on loopback: one bucket in memory, and what goes wrong with one.

It takes what a client of path-style addresses sends: whole blobs, ranges, deletions of many,
listings in pages. Requests that are not signed by the key, or whose body is not what was signed,
are refused.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, unescape

from aiohttp import web

BUCKET = "media"
ACCESS_KEY_ID = "tieline-tests"

# Small, so that a few blobs take several pages.
_PAGE_KEYS = 2

_MAX_BLOB_BYTES = 64 * 1024 * 1024

_LAST_MODIFIED = {"Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT", "ETag": '"1"'}


@dataclass(frozen=True)
class Fault:
    """What requests are answered with in the place of an answer; status 0 is silence."""

    status: int
    code: str = ""


SILENCE = Fault(0)
BROKEN = Fault(500, "InternalError")
# As MinIO says it.
FULL = Fault(507, "XMinioStorageFull")
NO_BUCKET = Fault(404, "NoSuchBucket")
FORBIDDEN = Fault(403, "AccessDenied")


@dataclass
class FakeS3:
    """The server; ``serving`` gives it a port."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    fault: Fault | None = None
    faulty_requests: int = -1
    """How many more the fault meets; -1 for all."""

    port: int = 0

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Answer on loopback."""
        self._over = asyncio.Event()
        application = web.Application(client_max_size=_MAX_BLOB_BYTES)
        application.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(application, shutdown_timeout=0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.port = runner.addresses[0][1]
            yield
        finally:
            self._over.set()
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        fault = self._take_fault()
        if fault == SILENCE:
            await self._over.wait()
        if fault is not None:
            return _refuse(fault)
        signed = f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}/"
        if not request.headers.get("Authorization", "").startswith(signed):
            return _refuse(FORBIDDEN)
        if request.headers["x-amz-content-sha256"] != hashlib.sha256(body).hexdigest():
            return _refuse(Fault(400, "XAmzContentSHA256Mismatch"))
        bucket, _, key = request.match_info["path"].partition("/")
        if bucket != BUCKET:
            return _refuse(NO_BUCKET)
        if request.method == "PUT":
            self.blobs[key] = body
            return web.Response(headers=_LAST_MODIFIED)
        if request.method == "POST" and "delete" in request.query:
            return self._delete(body)
        if not key:
            return self._list(request.query["prefix"], request.query.get("continuation-token", ""))
        return self._get(key, request)

    def _take_fault(self) -> Fault | None:
        if self.fault is None or not self.faulty_requests:
            return None
        self.faulty_requests -= self.faulty_requests > 0
        return self.fault

    def _get(self, key: str, request: web.Request) -> web.Response:
        blob = self.blobs.get(key)
        if blob is None:
            return _refuse(Fault(404, "NoSuchKey"))
        span = request.http_range
        start, stop = span.start or 0, min(span.stop or len(blob), len(blob))
        if start >= len(blob):
            return _refuse(Fault(416, "InvalidRange"))
        headers = {**_LAST_MODIFIED, "Content-Range": f"bytes {start}-{stop - 1}/{len(blob)}"}
        return web.Response(status=206, body=blob[start:stop], headers=headers)

    def _delete(self, body: bytes) -> web.Response:
        keys = [unescape(key) for key in re.findall("<Key>([^<]*)</Key>", body.decode())]
        for key in keys:
            self.blobs.pop(key, None)
        deleted = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
        return _xml(f"<DeleteResult>{deleted}</DeleteResult>")

    def _list(self, prefix: str, after: str) -> web.Response:
        keys = [key for key in sorted(self.blobs) if key.startswith(prefix) and key > after]
        page = keys[:_PAGE_KEYS]
        parts = [
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.blobs[key])}</Size>"
            '<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>"1"</ETag></Contents>'
            for key in page
        ]
        if len(keys) > len(page):
            parts.append(f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>")
        return _xml(f"<ListBucketResult>{''.join(parts)}</ListBucketResult>")


def _refuse(fault: Fault) -> web.Response:
    return _xml(f"<Error><Code>{fault.code}</Code></Error>", fault.status or 500)


def _xml(body: str, status: int = 200) -> web.Response:
    return web.Response(status=status, text=body, content_type="application/xml")
