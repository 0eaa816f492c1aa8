"""`tieline platform-administrators`: who runs the deployment, and by what password."""

import asyncio
import datetime as dt
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tieline.chassis.fields import check_user_id
from tieline.chassis.health import Health
from tieline.chassis.postgres import Pool, create_pool
from tieline.chassis.process import StartError
from tieline.chassis.settings import SettingsError, load_settings
from tieline.cli.errors import CommandError
from tieline.identity.keyring import build_keyring
from tieline.identity.passwords.hashing import check_new_password
from tieline.identity.passwords.settings import build_hasher
from tieline.identity.repositories import SCHEMA
from tieline.identity.roles import platform_administrators as administrators
from tieline.identity.roles.platform_administrators import Removal, Reset
from tieline.identity.settings import IdentitySettings

_NAME = click.argument("name")

T = TypeVar("T")


@click.group()
def platform_administrators() -> None:
    """Who runs the deployment: creates corps, verifies and suspends them.

    Reads the settings of `tieline serve identity`: run it where that runs. A password is asked for,
    or read as one line where standard input is no terminal. Every act stands in the platform's
    audit log.

    \b
    Examples:
      tieline platform-administrators list
      tieline platform-administrators add wang.fang
      tieline platform-administrators set-password platform < new-password
      tieline platform-administrators reset-second-factor platform
      tieline platform-administrators remove wang.fang
    """


@platform_administrators.command("list")
def list_command() -> None:
    """List everybody, and who has a second factor since when.

    \b
    Example:
      tieline platform-administrators list
    """
    found = _run(_load_settings(), administrators.list_all)
    table = Table("name", "since", "second factor since")
    for one, confirm_time in found:
        table.add_row(escape(one.name), _show(one.create_time), _show(confirm_time))
    Console().print(table if found else "there is no platform administrator")


@platform_administrators.command("add")
@_NAME
def add_command(name: str) -> None:
    """Add NAME, with a password of their own.

    \b
    Example:
      tieline platform-administrators add wang.fang
    """
    violations: dict[str, str] = {}
    check_user_id(name, "NAME", violations)
    if violations:
        raise CommandError(f"NAME {violations['NAME']}")
    settings = _load_settings()
    password_hash = _hash_new_password(settings)
    if not _run(settings, lambda pool: administrators.add(pool, name, password_hash)):
        raise CommandError(f"there is a platform administrator {name} already: use set-password")
    click.echo(f"{name} is a platform administrator")


@platform_administrators.command("set-password")
@_NAME
def set_password_command(name: str) -> None:
    """Give NAME another password and end all of their sessions.

    \b
    Example:
      tieline platform-administrators set-password platform
    """
    settings = _load_settings()
    password_hash = _hash_new_password(settings)
    if not _run(settings, lambda pool: administrators.set_password(pool, name, password_hash)):
        raise _unknown_error(name)
    click.echo(f"{name} has another password and is signed out everywhere")


@platform_administrators.command("reset-second-factor")
@_NAME
def reset_second_factor_command(name: str) -> None:
    """End the second factor that NAME has lost, with its recovery codes, and all of their sessions.

    The password opens the next session by itself, unless TIELINE_PLATFORM_SECOND_FACTOR_REQUIRED is
    set: then a new second factor is enrolled at that sign-in.

    \b
    Example:
      tieline platform-administrators reset-second-factor platform
    """
    match _run(_load_settings(), lambda pool: administrators.reset_second_factor(pool, name)):
        case Reset.UNKNOWN:
            raise _unknown_error(name)
        case Reset.NONE:
            raise CommandError(f"{name} has no second factor")
        case Reset.RESET:
            click.echo(f"{name} has no second factor any more and is signed out everywhere")


@platform_administrators.command("remove")
@_NAME
def remove_command(name: str) -> None:
    """Remove NAME and end all of their sessions; the last one stays.

    \b
    Example:
      tieline platform-administrators remove wang.fang
    """
    match _run(_load_settings(), lambda pool: administrators.remove(pool, name)):
        case Removal.UNKNOWN:
            raise _unknown_error(name)
        case Removal.LAST:
            raise CommandError(f"{name} is the last platform administrator: add another one first")
        case Removal.REMOVED:
            click.echo(f"{name} is no platform administrator any more")


def _hash_new_password(settings: IdentitySettings) -> str:
    if sys.stdin.isatty():
        password: str = click.prompt("New password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    violations: dict[str, str] = {}
    check_new_password(password, "the password", violations)
    if violations:
        raise CommandError(f"the password {violations['the password']}")
    keyring = build_keyring(settings.secret_key.get_secret_value())
    return build_hasher(settings, keyring).hash(password)


def _run(settings: IdentitySettings, act: Callable[[Pool], Awaitable[T]]) -> T:
    async def run() -> T:
        async with _connected(settings) as pool:
            return await act(pool)

    return asyncio.run(run())


@asynccontextmanager
async def _connected(settings: IdentitySettings) -> AsyncIterator[Pool]:
    dsn = settings.database_dsn.get_secret_value()
    try:
        async with create_pool(dsn, service=SCHEMA, max_size=1, health=Health()) as pool:
            yield pool
    except StartError as error:
        raise CommandError(error.text) from None


def _load_settings() -> IdentitySettings:
    try:
        return load_settings(IdentitySettings)
    except SettingsError as error:
        raise CommandError(str(error)) from None


def _show(time: dt.datetime | None) -> str:
    return "none" if time is None else f"{time:%Y-%m-%d %H:%M:%S}"


def _unknown_error(name: str) -> CommandError:
    return CommandError(f"there is no platform administrator {name}; list shows them")
