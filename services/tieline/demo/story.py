"""The acts in their order."""

import contextlib
import random
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

import grpc

from tieline.client import (
    ClientCertificate,
    Endpoints,
    RetryPolicy,
    SessionTokens,
    Tieline,
    TielineError,
    connect,
)
from tieline.demo.conversations import talk
from tieline.demo.customers import receive_customers
from tieline.demo.journal import Journal
from tieline.demo.onboarding import (
    Corp,
    ask_for_deletion,
    find_each_other,
    found_corp,
    invite_colleagues,
)
from tieline.demo.red_packet import give_red_packet
from tieline.demo.staff_import import import_staff
from tieline.demo.stage import DemoError, Material, Scale, Stage

PLATFORM_ADMINISTRATOR = "platform"

# The day outlives a service that is killed and started again: with patience, and with a budget for
# a hundred people who all ask again meanwhile.
CALL_TIMEOUT_S = 60.0
RETRIES = RetryPolicy(budget_per_second=200, budget_capacity=2000)

# Long enough for a service that is being restarted, short for somebody who forgot `tieline up`.
FIRST_CALL_TIMEOUT_S = 5.0

_NOBODY_THERE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


@dataclass(frozen=True, slots=True)
class Platform:
    """Where the day happens, and how one gets in."""

    endpoints: Endpoints
    administrator_password: str = field(repr=False)
    tls: bool | None = None
    """None: except to this machine itself."""

    root_certificates: bytes | None = None
    client_certificate: ClientCertificate | None = None
    server_name: str | None = None
    advice: str = "start it with `tieline up`"
    """For somebody who finds nobody there."""

    def connect(self, call_timeout_s: float) -> AbstractAsyncContextManager[Tieline]:
        """Connect with the day's patience."""
        return connect(
            self.endpoints,
            tls=self.tls,
            root_certificates=self.root_certificates,
            client_certificate=self.client_certificate,
            server_name=self.server_name,
            call_timeout_s=call_timeout_s,
            retries=RETRIES,
        )


async def play_day(
    platform: Platform,
    material: Material,
    scale: Scale,
    journal: Journal,
    *,
    deletes_corp: bool = False,
) -> None:
    """Play the whole day; what was done and which checks hold is in the journal then.

    ``deletes_corp`` asks for the corp's deletion in the end, however the day went. Raises
    DemoError where the day can't go on.
    """
    try:
        tokens = await _open_platform(platform)
        async with platform.connect(CALL_TIMEOUT_S) as tieline:
            administrator = tieline.resume(tokens)
            chance = random.Random(scale.seed)
            stage = Stage(tieline, administrator, journal, scale, chance, material)
            corp = await found_corp(stage)
            await (_play_and_delete if deletes_corp else _play_acts)(stage, corp)
    except (DemoError, TielineError, BaseExceptionGroup) as error:
        cause = _first(error)
        if isinstance(cause, TielineError):
            raise DemoError(_describe(cause, journal)) from error
        raise cause from None


async def _open_platform(platform: Platform) -> SessionTokens:
    """Sign the platform's administrator in, or say soon that nobody is there."""
    async with platform.connect(FIRST_CALL_TIMEOUT_S) as tieline:
        try:
            administrator = await tieline.sign_in_platform_administrator(
                PLATFORM_ADMINISTRATOR, platform.administrator_password
            )
        except TielineError as error:
            if error.code in _NOBODY_THERE and not error.reason:
                raise DemoError(
                    f"no platform answers at {platform.endpoints.identity}; {platform.advice}"
                ) from error
            raise
        return administrator.tokens


async def _play_and_delete(stage: Stage, corp: Corp) -> None:
    try:
        await _play_acts(stage, corp)
    except BaseException:
        # What went wrong first is what is told.
        with contextlib.suppress(TielineError):
            await ask_for_deletion(stage, corp)
        raise
    with stage.journal.step("corps whose deletion was asked for") as step:
        await ask_for_deletion(stage, corp)
        step.count = 1


async def _play_acts(stage: Stage, corp: Corp) -> None:
    await import_staff(stage, corp)
    colleagues = await invite_colleagues(stage, corp)
    await find_each_other(stage, colleagues)
    await talk(stage, corp, colleagues)
    club = await receive_customers(stage, corp, colleagues)
    await give_red_packet(stage, corp, club)


def _first(error: BaseException) -> BaseException:
    """Return the error that ended the others."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _describe(error: TielineError, journal: Journal) -> str:
    request = f" (request {error.request_id})" if error.request_id else ""
    return f"the day stopped at {journal.doing!r}: {error}{request}"
