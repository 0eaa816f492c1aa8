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

from tieline.chassis.errors import FailedPreconditionError, InvalidArgumentError
from tieline.chassis.postgres import Connection

M = TypeVar("M", bound=Message)


async def answer_once(
    connection: Connection,
    schema: str,
    *,
    corp_id: str,
    principal_id: str,
    request_id: str,
    request: Message,
    response_type: type[M],
    act: Callable[[], Awaitable[M]],
) -> M:
    """Return what ``act`` returns, or what it returned when this request was first answered.

    Runs in the caller's transaction. A repeat at the same time waits until the first one's
    transaction ends; had that failed, the repeat becomes the first. ``request_id`` must be a UUID
    (InvalidArgumentError); with other contents than before it is refused (FailedPreconditionError
    REQUEST_ID_REUSED). What ``act`` raises is not stored.
    """
    key = (corp_id, principal_id, _parse_request_id(request_id))
    digest = _digest(request)
    is_first = await connection.fetchval(
        _sql(schema).claim, *key, request.DESCRIPTOR.full_name, digest
    )
    if is_first:
        response = await act()
        await connection.execute(_sql(schema).store, *key, response.SerializeToString())
        return response
    row = await connection.fetchrow(_sql(schema).find, *key)
    assert row is not None, "the row that the claim conflicted with is committed and stays"
    if row["request_digest"] != digest:
        raise FailedPreconditionError(
            "REQUEST_ID_REUSED",
            "request_id was used before with other contents",
            {"requestId": request_id},
        )
    return response_type.FromString(row["response"])


def _parse_request_id(request_id: str) -> uuid.UUID:
    try:
        parsed = uuid.UUID(request_id)
    except ValueError:
        parsed = None
    # uuid.UUID also takes braces, URNs and missing hyphens: several spellings of one id.
    if parsed is None or str(parsed) != request_id.lower():
        raise InvalidArgumentError(
            {"request_id": "must be a UUID, such as 018f3d2e-7c1a-7b6e-9f00-3a5b8c2d1e4f"}
        )
    return parsed


def _digest(request: Message) -> bytes:
    contents = type(request)()
    contents.CopyFrom(request)
    if "request_id" in contents.DESCRIPTOR.fields_by_name:
        # A UUID in capitals is the same one.
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
