"""First answers: a request that is sent again gets the answer that it got the first time.

The answer is stored in the transaction of the change, under the sender and the request id, so
that either both are there or neither is.
"""

import hashlib
import uuid
from collections.abc import Awaitable, Callable
from functools import cache
from typing import TypeVar

from google.protobuf.message import Message

from tieline.chassis.calls import current_principal
from tieline.chassis.errors import FailedPreconditionError, InvalidArgumentError
from tieline.chassis.fields import is_uuid
from tieline.chassis.postgres import Connection, Pool, transaction

M = TypeVar("M", bound=Message)


async def answered_once(
    pool: Pool,
    schema: str,
    request: Message,
    response_type: type[M],
    act: Callable[[Connection], Awaitable[M]],
    *,
    corp_id: str,
    prepare: Callable[[], Awaitable[None]] | None = None,
) -> M:
    """Return what ``act`` returns, or what it returned when the caller's request came first.

    ``act`` runs in a transaction, at most once for each ``request_id`` of the current principal in
    the corp. A repeat at the same time waits until the first one's transaction ends; had that
    failed, the repeat becomes the first. What ``act`` raises is not stored.

    ``prepare`` asks another service and raises what speaks against the request. It runs before the
    transaction, while no connection is held, and only where no first answer is stored: a repeat
    does not need the other service. Of two at the same time both may prepare.

    ``request.request_id`` must be a UUID (InvalidArgumentError); with other contents than before
    it is refused (FailedPreconditionError REQUEST_ID_REUSED).
    """
    first = _FirstAnswer(schema, corp_id, request)
    if prepare is not None:
        async with pool.acquire() as connection:
            stored = await first.find(connection)
        if stored is not None:
            return response_type.FromString(stored)
        await prepare()
    async with transaction(pool) as connection:
        if await first.claim(connection):
            response = await act(connection)
            await first.store(connection, response)
            return response
        stored = await first.find(connection)
    assert stored is not None, "the row that the claim conflicted with is committed and stays"
    return response_type.FromString(stored)


class _FirstAnswer:
    """The row of one request."""

    def __init__(self, schema: str, corp_id: str, request: Message) -> None:
        principal = current_principal()
        self._request_id = _read_request_id(request)
        # With the kind: a member and an administrator may be called the same.
        sender = f"{principal.kind}:{principal.id}"
        self._key = (corp_id, sender, uuid.UUID(self._request_id))
        self._method = request.DESCRIPTOR.full_name
        self._digest = _digest(request)
        self._statements = _sql(schema)

    async def claim(self, connection: Connection) -> bool:
        """Insert the row; False if it is there, once the transaction that makes it has ended."""
        claimed = await connection.fetchval(
            self._statements.claim, *self._key, self._method, self._digest
        )
        return claimed is True

    async def store(self, connection: Connection, response: Message) -> None:
        """Keep the response in the claimed row."""
        await connection.execute(self._statements.store, *self._key, response.SerializeToString())

    async def find(self, connection: Connection) -> bytes | None:
        """Return the stored response, None where there is none; other contents raise."""
        row = await connection.fetchrow(self._statements.find, *self._key)
        if row is None:
            return None
        if row["request_digest"] != self._digest:
            raise FailedPreconditionError(
                "REQUEST_ID_REUSED",
                "request_id was used before with other contents",
                {"requestId": self._request_id},
            )
        response: bytes = row["response"]
        return response


def _read_request_id(request: Message) -> str:
    request_id: str = request.request_id  # type: ignore[attr-defined]  # repeatable ones have it
    # A UUID in capitals is the same one.
    if not is_uuid(request_id.lower()):
        raise InvalidArgumentError(
            {"request_id": "must be a UUID, such as 018f3d2e-7c1a-7b6e-9f00-3a5b8c2d1e4f"}
        )
    return request_id


def _digest(request: Message) -> bytes:
    contents = type(request)()
    contents.CopyFrom(request)
    # It is in the key, where its spelling makes no difference.
    contents.ClearField("request_id")
    digest = hashlib.sha256(request.DESCRIPTOR.full_name.encode())
    digest.update(b"\0")
    digest.update(contents.SerializeToString(deterministic=True))
    return digest.digest()


class _Statements:
    """The statements for one schema."""

    def __init__(self, schema: str) -> None:
        self.claim = f"""
            INSERT INTO {schema}.first_answers
                   (corp_id, principal_id, request_id, method, request_digest)
            VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT ON CONSTRAINT first_answers_pkey DO NOTHING
            RETURNING true
        """  # noqa: S608 -- schemas are named by the code
        self.store = f"""
            UPDATE {schema}.first_answers
               SET response = $4
             WHERE corp_id = $1 AND principal_id = $2 AND request_id = $3
        """  # noqa: S608 -- schemas are named by the code
        self.find = f"""
            SELECT request_digest, response
              FROM {schema}.first_answers
             WHERE corp_id = $1 AND principal_id = $2 AND request_id = $3
        """  # noqa: S608 -- schemas are named by the code


_sql = cache(_Statements)
