"""The way in: connect, sign in, call.

    Tieline                   what nobody needs to be signed in for, and the ways to sign in
    └── Party                 the same stubs, called by one party
        ├── SignedIn          by a member or a platform administrator, with a session
        │   SignedInCustomer  by a customer
        └── SignedInApp       by an app, with its secret

All parties of one connection share its channels.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import TypeVar

import grpc

from tieline.api.identity.v1 import (
    app_service_pb2,
    identity_pb2,
    identity_service_pb2,
    second_factor_service_pb2,
    sign_in_pb2,
)
from tieline.client.callee_level import CalleeLevels
from tieline.client.caller import RetryPlan
from tieline.client.credentials import AppToken, Credentials, OnTokens, SessionTokens
from tieline.client.endpoints import Endpoints, is_loopback
from tieline.client.errors import TielineError
from tieline.client.feed import MessageFeed
from tieline.client.held_numbers import HeldNumbers
from tieline.client.retries import RetryBudget, RetryPolicy
from tieline.client.sender import MessageSender
from tieline.client.stubs import Line, Lines, Stubs

# Of a call with all its retries, where the call gives no `timeout`.
CALL_TIMEOUT_S = 10.0

# The largest response is a page of 1,000 messages of 2 KiB; the largest request a chunk of 1 MiB.
MAX_MESSAGE_BYTES = 4 * 1024 * 1024

_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # A connection that died without a word is noticed while calls are open: in 30 + 10 s where the
    # network is gone, and in 30 + 60 s where the server's process is stopped and its kernel still
    # takes what is sent. The 60 s for the answer to a ping are gRPC's own.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
    # A restarted service is found again at once; gRPC's own bound is 120 s.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # What its name does not say: a connection may take so long to come about. A far or a busy
    # server is still reached, and an address that swallows everything is left (gRPC: after 20 s).
    ("grpc.min_reconnect_backoff_ms", 5_000),
    # Of several addresses each gets its share, and one that is new within seconds of a connection's
    # end, which is when gRPC asks the name service again; its own bound for that is 30 s.
    ("grpc.lb_policy_name", "round_robin"),
    ("grpc.dns_min_time_between_resolutions_ms", 5_000),
    # Whoever connects twice gets two connections; gRPC would let all of a process share one, and
    # with it the calls and streams that a server takes of one.
    ("grpc.use_local_subchannel_pool", 1),
    # Retries are the client library's: two layers of them would multiply.
    ("grpc.enable_retries", 0),
)

GetCode = Callable[[], Awaitable[str]]
"""Asks whoever signs in for a code of the authenticator, or a recovery code."""

Result = TypeVar("Result")


class SecondFactorNeededError(Exception):
    """A second factor must be shown, or one enrolled: go on with ``Tieline.second_factors``."""

    def __init__(self, challenge: sign_in_pb2.SecondFactorChallenge) -> None:
        super().__init__("a second factor is needed")
        self.challenge = challenge


class Party(Stubs):
    """The five services as one party calls them."""

    def watch_messages(
        self,
        *,
        corp_id: str = "",
        held: Mapping[str, int] | None = None,
        store: HeldNumbers | None = None,
    ) -> MessageFeed:
        """Return a feed of the party's messages in one corp, to be entered with ``async with``.

        Members and apps may leave ``corp_id`` empty. ``held`` maps conversation ids to the number
        of the last message that the party has; ``store`` keeps these, such as HeldNumbersFile.
        """
        return MessageFeed(self.messaging, corp_id=corp_id, held=held, store=store)

    def message_sender(self, *, corp_id: str = "") -> MessageSender:
        """Return a sender of many messages in one corp, to be entered with ``async with``.

        Members and apps may leave ``corp_id`` empty.
        """
        return MessageSender(self.messaging, corp_id=corp_id)


class SignedIn(Party):
    """The services as somebody with a session calls them."""

    def __init__(self, lines: Lines, credentials: Credentials[SessionTokens]) -> None:
        super().__init__(lines, credentials)
        self._session = credentials

    @property
    def tokens(self) -> SessionTokens:
        """The session's current tokens, for Tieline.resume."""
        return self._session.tokens


class SignedInCustomer(SignedIn):
    """The services as a customer calls them."""

    def __init__(
        self, lines: Lines, credentials: Credentials[SessionTokens], customer_id: str
    ) -> None:
        super().__init__(lines, credentials)
        self.customer_id = customer_id
        """``wm…``, the same each time that this person signs in."""


class SignedInApp(Party):
    """The services as an app calls them."""


class Tieline(Stubs):
    """A connection to a platform; ``connect`` makes one.

    ``on_tokens`` of the methods is called with each new pair of tokens, so that a session can be
    kept for ``resume``.
    """

    def __init__(self, lines: Lines) -> None:
        super().__init__(lines, None)

    async def sign_in_member(
        self,
        corp_id: str,
        user_id: str,
        password: str,
        *,
        get_code: GetCode | None = None,
        on_tokens: OnTokens | None = None,
    ) -> SignedIn:
        """Open a session by password. Raises TielineError CREDENTIALS_REJECTED.

        ``get_code`` returns a code of the member's authenticator, where one is asked for; without
        it SecondFactorNeededError is raised, which has the challenge.
        """
        session = await self._open_by_password(corp_id, user_id, password, get_code)
        return self._enter(session, on_tokens)

    async def sign_in_platform_administrator(
        self,
        name: str,
        password: str,
        *,
        get_code: GetCode | None = None,
        on_tokens: OnTokens | None = None,
    ) -> SignedIn:
        """Open a session of somebody who runs the deployment; ``get_code`` as of a member's."""
        request = identity_service_pb2.SignInPlatformAdministratorRequest(
            name=name, password=password
        )
        response = await self.identity.SignInPlatformAdministrator(request)
        session = await self._complete(response.session, response.second_factor_challenge, get_code)
        return self._enter(session, on_tokens)

    async def sign_in_customer(
        self, make_assertion: Callable[[], str], *, on_tokens: OnTokens | None = None
    ) -> SignedInCustomer:
        """Open a session of a person whom a channel vouches for.

        An assertion is good once, so ``make_assertion`` is called for each attempt.
        """

        async def attempt(_: int) -> identity_service_pb2.SignInCustomerResponse:
            request = identity_service_pb2.SignInCustomerRequest(assertion=make_assertion())
            return await self.identity.SignInCustomer(request)

        response = await self._repeat(attempt)
        credentials = self._credentials_of(response.session, on_tokens)
        return SignedInCustomer(self._lines, credentials, response.customer_id)

    async def sign_in_app(self, corp_id: str, secret: str) -> SignedInApp:
        """Call as one of the corp's apps. Raises TielineError CREDENTIALS_REJECTED.

        The secret, which names the app, gives the next token shortly before one ends.
        """
        request = app_service_pb2.CreateAppTokenRequest(corp_id=corp_id, secret=secret)

        async def ask(_: object) -> AppToken:
            return AppToken.from_proto(await self.apps.CreateAppToken(request))

        return SignedInApp(self._lines, Credentials(await self._repeat(ask), ask))

    async def accept_invitation(
        self,
        corp_id: str,
        user_id: str,
        code: str,
        password: str,
        *,
        on_tokens: OnTokens | None = None,
    ) -> SignedIn:
        """Set a member's password by an invitation's code, and sign the member in.

        The code ends with its use. Where an answer was lost, the password tells whether it came
        to that.
        """
        request = identity_service_pb2.AcceptInvitationRequest(
            corp_id=corp_id, user_id=user_id, code=code, password=password
        )

        async def attempt(number: int) -> identity_pb2.Session:
            if number > 0:
                try:
                    return await self._open_by_password(corp_id, user_id, password)
                except TielineError as error:
                    if error.reason != "CREDENTIALS_REJECTED":
                        raise
            response = await self.identity.AcceptInvitation(request)
            return await self._complete(response.session, response.second_factor_challenge, None)

        return self._enter(await self._repeat(attempt), on_tokens)

    def resume(self, tokens: SessionTokens, *, on_tokens: OnTokens | None = None) -> SignedIn:
        """Go on with a session whose tokens were kept."""
        return SignedIn(self._lines, Credentials(tokens, self._refresh, on_tokens=on_tokens))

    async def _open_by_password(
        self, corp_id: str, user_id: str, password: str, get_code: GetCode | None = None
    ) -> identity_pb2.Session:
        request = identity_service_pb2.SignInMemberRequest(
            corp_id=corp_id, user_id=user_id, password=password
        )
        response = await self.identity.SignInMember(request)
        return await self._complete(response.session, response.second_factor_challenge, get_code)

    async def _complete(
        self,
        session: identity_pb2.Session,
        challenge: sign_in_pb2.SecondFactorChallenge,
        get_code: GetCode | None,
    ) -> identity_pb2.Session:
        """Return the session, by the second factor where that is asked for."""
        if not challenge.challenge:
            return session
        if get_code is None or challenge.enrolment_required:
            raise SecondFactorNeededError(challenge)
        request = second_factor_service_pb2.CompleteSecondFactorRequest(
            challenge=challenge.challenge, code=await get_code()
        )
        return (await self.second_factors.CompleteSecondFactor(request)).session

    def _enter(self, session: identity_pb2.Session, on_tokens: OnTokens | None) -> SignedIn:
        return SignedIn(self._lines, self._credentials_of(session, on_tokens))

    def _credentials_of(
        self, session: identity_pb2.Session, on_tokens: OnTokens | None
    ) -> Credentials[SessionTokens]:
        tokens = SessionTokens.from_proto(session)
        if on_tokens is not None:
            on_tokens(tokens)
        return Credentials(tokens, self._refresh, on_tokens=on_tokens)

    async def _refresh(self, tokens: SessionTokens) -> SessionTokens:
        request = identity_service_pb2.RefreshSessionRequest(refresh_token=tokens.refresh_token)
        return SessionTokens.from_proto((await self.identity.RefreshSession(request)).session)

    async def _repeat(self, attempt: Callable[[int], Awaitable[Result]]) -> Result:
        """Try a call of identity's again that must not be repeated as it is."""
        lines = self._lines
        deadline = time.monotonic() + lines.call_timeout_s
        plan = RetryPlan(lines.policy, lines.by_service["identity"].budget, is_safe=True)
        number = 0
        while True:
            try:
                return await attempt(number)
            except TielineError as error:
                delay_s = plan.delay_s(error, deadline - time.monotonic())
                if delay_s is None:
                    raise
            await asyncio.sleep(delay_s)
            number += 1


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """What a server that asks for it is shown; both PEM."""

    chain: bytes
    """The certificate, and the chain behind it."""

    key: bytes = field(repr=False)
    """Its private key, not encrypted."""


@asynccontextmanager
async def connect(
    endpoints: Endpoints,
    *,
    tls: bool | None = None,
    root_certificates: bytes | None = None,
    client_certificate: ClientCertificate | None = None,
    server_name: str | None = None,
    call_timeout_s: float = CALL_TIMEOUT_S,
    retries: RetryPolicy | None = None,
) -> AsyncIterator[Tieline]:
    """Connect to a platform until the block ends.

    ``tls`` None means TLS except to this machine itself. ``root_certificates`` (PEM) takes the
    place of the system's; ``client_certificate`` is shown to servers that ask for one.
    ``server_name`` is the name in the servers' certificates where it is not that of the address.
    ``call_timeout_s`` bounds a call with all its retries where the call gives no ``timeout`` of its
    own. Connections are made when they are first needed.

    A service takes 1,000 streams of one connection at a time, and what is more waits at the client:
    who keeps more feeds open connects several times. Calls have a connection of their own.
    """
    policy = retries or RetryPolicy()
    async with AsyncExitStack() as stack:
        by_service = {}
        for service, target in asdict(endpoints).items():
            channel, streams = [
                _open_channel(target, tls, root_certificates, client_certificate, server_name)
                for _ in range(2)
            ]
            await stack.enter_async_context(channel)
            await stack.enter_async_context(streams)
            levels = CalleeLevels(time.monotonic)
            by_service[service] = Line(channel, streams, RetryBudget(policy), levels)
        yield Tieline(Lines(by_service, policy, call_timeout_s))


def _open_channel(
    target: str,
    tls: bool | None,
    roots: bytes | None,
    own: ClientCertificate | None = None,
    server_name: str | None = None,
) -> grpc.aio.Channel:
    is_secure = not is_loopback(target) if tls is None else tls
    if not is_secure:
        return grpc.aio.insecure_channel(target, options=_CHANNEL_OPTIONS)
    key, chain = (own.key, own.chain) if own else (None, None)
    credentials = grpc.ssl_channel_credentials(roots, key, chain)
    name = [("grpc.ssl_target_name_override", server_name)] if server_name else []
    return grpc.aio.secure_channel(target, credentials, options=[*_CHANNEL_OPTIONS, *name])
