"""The acts in their order."""

import random
from pathlib import Path

import grpc

from tieline.client import (
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
from tieline.demo.onboarding import find_each_other, found_corp, invite_colleagues
from tieline.demo.red_packet import give_red_packet
from tieline.demo.staff_import import import_staff
from tieline.demo.stage import DemoError, Scale, Stage

PLATFORM_ADMINISTRATOR = "platform"

# The day outlives a service that is killed and started again: with patience, and with a budget for
# a hundred people who all ask again meanwhile.
CALL_TIMEOUT_S = 60.0
RETRIES = RetryPolicy(budget_per_second=200, budget_capacity=2000)

# Long enough for a service that is being restarted, short for somebody who forgot `tieline up`.
FIRST_CALL_TIMEOUT_S = 5.0

_NOBODY_THERE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


async def play_day(
    endpoints: Endpoints,
    administrator_password: str,
    staff_file: Path,
    scale: Scale,
    journal: Journal,
) -> None:
    """Play the whole day; what was done and which checks hold is in the journal then.

    Raises DemoError where the day can't go on.
    """
    try:
        tokens = await _open_platform(endpoints, administrator_password)
        async with connect(endpoints, call_timeout_s=CALL_TIMEOUT_S, retries=RETRIES) as tieline:
            await _play_acts(_set_stage(tieline, tokens, staff_file, scale, journal))
    except (DemoError, TielineError, BaseExceptionGroup) as error:
        cause = _first(error)
        if isinstance(cause, TielineError):
            raise DemoError(_describe(cause, journal)) from error
        raise cause from None


async def _open_platform(endpoints: Endpoints, password: str) -> SessionTokens:
    """Sign the platform's administrator in, or say soon that nobody is there."""
    async with connect(endpoints, call_timeout_s=FIRST_CALL_TIMEOUT_S, retries=RETRIES) as tieline:
        try:
            administrator = await tieline.sign_in_platform_administrator(
                PLATFORM_ADMINISTRATOR, password
            )
        except TielineError as error:
            if error.code in _NOBODY_THERE and not error.reason:
                raise DemoError(
                    f"no platform answers at {endpoints.identity}; start it with `tieline up`"
                ) from error
            raise
        return administrator.tokens


def _set_stage(
    tieline: Tieline, tokens: SessionTokens, staff_file: Path, scale: Scale, journal: Journal
) -> Stage:
    administrator = tieline.resume(tokens)
    return Stage(tieline, administrator, journal, scale, random.Random(scale.seed), staff_file)


async def _play_acts(stage: Stage) -> None:
    corp = await found_corp(stage)
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
