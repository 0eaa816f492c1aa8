"""A party's tokens, kept fresh.

A session's refresh token works once, so of many calls that find the access token old exactly one
refreshes and the others wait for it.
"""

import asyncio
import base64
import datetime as dt
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, Self, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from tieline.api.identity.v1 import app_service_pb2, identity_pb2

# Covers a call's way to the service and clocks that differ a little.
REFRESH_AHEAD = dt.timedelta(seconds=60)

# Of a token's lifetime, where that is shorter than ten minutes.
REFRESH_AHEAD_RATIO = 0.1

_NEVER = dt.datetime.max.replace(tzinfo=dt.UTC)


class Tokens(Protocol):
    """What all kinds of tokens have."""

    @property
    def access_token(self) -> str:
        """What calls carry."""

    @property
    def access_expire_time(self) -> dt.datetime:
        """Until when."""


@dataclass(frozen=True, slots=True)
class SessionTokens:
    """What a client keeps of a session. Its text form shows no token."""

    session_id: str
    access_token: str = field(repr=False)
    access_expire_time: dt.datetime
    refresh_token: str = field(repr=False)
    refresh_expire_time: dt.datetime

    @classmethod
    def from_proto(cls, session: identity_pb2.Session) -> Self:
        """Take the tokens out of a response."""
        return cls(
            session.session_id,
            session.access_token,
            _to_datetime(session.access_expire_time),
            session.refresh_token,
            _to_datetime(session.refresh_expire_time),
        )


@dataclass(frozen=True, slots=True)
class AppToken:
    """An app's token, which its secret gives anew. Its text form does not show it."""

    access_token: str = field(repr=False)
    access_expire_time: dt.datetime

    @classmethod
    def from_proto(cls, response: app_service_pb2.CreateAppTokenResponse) -> Self:
        """Take the token out of a response."""
        return cls(response.access_token, _to_datetime(response.expire_time))


AnyTokens = TypeVar("AnyTokens", bound=Tokens)

OnTokens = Callable[[SessionTokens], None]


class Credentials(Generic[AnyTokens]):
    """Gives calls an access token that is still good.

    ``refresh`` returns the tokens that follow those that it is given.
    """

    def __init__(
        self,
        tokens: AnyTokens,
        refresh: Callable[[AnyTokens], Awaitable[AnyTokens]],
        *,
        on_tokens: Callable[[AnyTokens], None] | None = None,
        clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._refresh = refresh
        self._on_tokens = on_tokens
        self._clock = clock
        self._refreshing: asyncio.Task[None] | None = None
        self._tokens = tokens
        self._plan_refresh()

    @property
    def tokens(self) -> AnyTokens:
        """The current tokens, to be kept where nobody else reads them."""
        return self._tokens

    async def access_token(self) -> str:
        """Return an access token; refresh it first if its time is over, or soon if it nearly is.

        Raises TielineError SESSION_ENDED where somebody must sign in again.
        """
        now = self._clock()
        if now >= self._refresh_time:
            refreshing = self._refreshing or self._begin_refresh()
            if now >= self._expire_time:
                # A caller that gives up must not take the new tokens away from the others.
                await asyncio.shield(refreshing)
        return self._tokens.access_token

    @property
    def corp(self) -> object:
        """The id of the corp that the tokens name, empty for none.

        Of tokens that can't be read something that equals nothing else.
        """
        return _read_corp(self._tokens.access_token)

    def note_expired(self, access_token: str) -> None:
        """Have the next call refresh, unless somebody has done so since that token was taken."""
        if access_token == self._tokens.access_token:
            self._refresh_time = self._expire_time = self._clock()

    def _begin_refresh(self) -> asyncio.Task[None]:
        self._refreshing = asyncio.create_task(self._refresh_once())
        self._refreshing.add_done_callback(self._end_refresh)
        return self._refreshing

    async def _refresh_once(self) -> None:
        self._tokens = await self._refresh(self._tokens)
        self._plan_refresh()
        if self._refresh_time <= self._clock():
            # Tokens that are old when they arrive mean that this machine's clock is ahead. The
            # services' clock is the one that counts: their answer TOKEN_EXPIRED says when.
            self._refresh_time = self._expire_time = _NEVER
        if self._on_tokens is not None:
            self._on_tokens(self._tokens)

    def _end_refresh(self, task: asyncio.Task[None]) -> None:
        self._refreshing = None
        if not task.cancelled():
            # Whoever needed the new token has the error; ahead of time nobody does.
            task.exception()

    def _plan_refresh(self) -> None:
        self._expire_time = self._tokens.access_expire_time
        lifetime = self._expire_time - self._clock()
        self._refresh_time = self._expire_time - min(REFRESH_AHEAD, lifetime * REFRESH_AHEAD_RATIO)


def _read_corp(access_token: str) -> object:
    try:
        _, claims, _ = access_token.split(".")
        return str(json.loads(base64.urlsafe_b64decode(claims + "==")).get("corp", ""))
    except (ValueError, AttributeError):
        return object()


def _to_datetime(timestamp: Timestamp) -> dt.datetime:
    return timestamp.ToDatetime(tzinfo=dt.UTC)
