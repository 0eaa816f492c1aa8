"""Opaque page tokens: sealed, and bound to the query whose page they end.

A token is the base64url form of a serialized ``PageToken``, encrypted by AES-SIV. Nobody can make
one that reads from a place of their choosing, and one of another query is refused instead of giving
a page that belongs to neither. Nobody can take one apart either: the row at which a page ends may
be one that its reader does not see, or be found by a field that its reader does not get.

A cursor that callers keep for weeks has the form that every release reads: the serialized
``PageToken`` behind 16 bytes of its HMAC-SHA-256.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from google.protobuf.message import DecodeError, Message

from tieline.api.common.v1 import page_token_pb2
from tieline.chassis.errors import InvalidArgumentError

# 128 bits: forging one takes 2^127 tries on average.
_SIGNATURE_BYTES = 16

Position = Sequence[str | int]

Row = TypeVar("Row")


class PageTokens:
    """Makes and reads the page tokens of one service."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        # AES-256: half of the key is for the tag.
        self._seal = AESSIV(hashlib.sha512(key).digest())

    def encode(self, position: Position, query: Message) -> str:
        """Return the token of the page that ends at ``position`` of ``query``."""
        return _to_text(self._seal.encrypt(_pack(position, query), None))

    def encode_cursor(self, position: Position, query: Message) -> str:
        """Return a token that tells its holder nothing new, and that callers keep for long."""
        body = _pack(position, query)
        return _to_text(self._sign(body) + body)

    def cut(
        self,
        rows: Sequence[Row],
        size: int,
        query: Message,
        position_of: Callable[[Row], Position],
    ) -> tuple[Sequence[Row], str]:
        """Return a page of ``size`` rows, and the token of the next page; empty after the last.

        ``rows`` are read with the limit ``size`` + 1: the one more tells that another page follows.
        """
        page = rows[:size]
        if len(rows) <= size:
            return page, ""
        return page, self.encode(position_of(page[-1]), query)

    def decode(self, token: str, query: Message) -> list[str | int] | None:
        """Return the position that a request's token holds; ``None`` for the first page.

        Raises ``InvalidArgumentError`` with reason PAGE_TOKEN_INVALID for anything else than a
        token that was made for the same query. The query's page size may differ.
        """
        if not token:
            return None
        page_token = self._read(token)
        if page_token is None or not hmac.compare_digest(page_token.query_digest, _digest(query)):
            raise InvalidArgumentError(
                {"page_token": "must be the next_page_token of the same query's previous page"},
                reason="PAGE_TOKEN_INVALID",
            )
        return [
            value.text if value.WhichOneof("value") == "text" else value.number
            for value in page_token.position
        ]

    def _read(self, token: str) -> page_token_pb2.PageToken | None:
        try:
            raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except (binascii.Error, ValueError):
            return None
        body = self._open(raw)
        if body is None:
            return None
        try:
            return page_token_pb2.PageToken.FromString(body)
        except DecodeError:
            return None

    def _open(self, raw: bytes) -> bytes | None:
        try:
            return self._seal.decrypt(raw, None)
        except (InvalidTag, ValueError):
            signature, body = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
            return body if hmac.compare_digest(signature, self._sign(body)) else None

    def _sign(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, "sha256")[:_SIGNATURE_BYTES]


def page_size(requested: int, *, default: int, maximum: int) -> int:
    """Return how many rows a page may have (AIP-158): 0 means the default, too many the maximum."""
    if requested < 0:
        raise InvalidArgumentError({"page_size": "must not be negative"})
    return min(requested or default, maximum)


def _pack(position: Position, query: Message) -> bytes:
    token = page_token_pb2.PageToken(query_digest=_digest(query))
    for value in position:
        if isinstance(value, str):
            token.position.add(text=value)
        else:
            token.position.add(number=value)
    return token.SerializeToString(deterministic=True)


def _to_text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _digest(query: Message) -> bytes:
    """Return what identifies a query: all of its fields but those that turn its pages."""
    bare = type(query)()
    bare.CopyFrom(query)
    for field in ("page_size", "page_token"):
        if field in bare.DESCRIPTOR.fields_by_name:
            bare.ClearField(field)
    named = bare.DESCRIPTOR.full_name.encode() + bare.SerializeToString(deterministic=True)
    return hashlib.sha256(named).digest()[:16]
