"""A day's data of all five services, backed up and restored by the commands of the manual."""

import asyncio
import io
import os
import random
import re
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest
from rich.console import Console

from e2e.platform_process import (
    START_TIMEOUT_S,
    PlatformProcess,
    environment,
    platform_process,
    survivors,
)
from fakes.eventually import eventually
from tieline.api.contacts.v1 import contacts_service_pb2 as contacts
from tieline.api.directory.v1 import directory_service_pb2 as directory
from tieline.api.messaging.v1 import media_service_pb2 as media
from tieline.api.messaging.v1 import message_content_pb2, messaging_pb2
from tieline.api.messaging.v1 import messaging_service_pb2 as messaging
from tieline.api.payments.v1 import payments_service_pb2 as payments
from tieline.cli.data_directory import DataDirectory
from tieline.cli.grpc_health import is_serving
from tieline.client import (
    Endpoints,
    SignedIn,
    SignedInCustomer,
    Tieline,
    connect,
    download_media,
    message_range,
    pages,
    upload_media,
)
from tieline.demo import short_day
from tieline.demo.channel import Channel
from tieline.demo.conversations import send_text, talk
from tieline.demo.customers import receive_customers
from tieline.demo.journal import Journal
from tieline.demo.onboarding import Colleague, Corp, found_corp, invite_colleagues
from tieline.demo.red_packet import give_red_packet
from tieline.demo.staff_import import import_staff
from tieline.demo.stage import Stage
from tieline.embedded.postgres import binaries

MANUAL = Path(__file__).parents[2] / "docs" / "operations" / "backup.md"

PLAN = b"%PDF-1.7 " + bytes(range(256)) * 4000

Messages = dict[str, list[messaging_pb2.Message]]


@dataclass(frozen=True)
class Day:
    """What the main job left, and who was in it."""

    corp: Corp
    colleagues: Sequence[Colleague]
    channel: Channel
    group_id: str
    media_id: str
    code: str
    """Adds the first colleague as a contact."""


@dataclass(frozen=True)
class People:
    """Who reads, on one of the platforms."""

    owner: SignedIn
    first: SignedIn
    second: SignedIn


@pytest.mark.timeout(400)
async def test_day_goes_on_where_its_backups_are_restored(
    platform: PlatformProcess, tieline: Tieline, tmp_path: Path
) -> None:
    wal, base, hourly, restoration = read_commands()
    folders = {"BACKUP": str(tmp_path / "backup"), "RESTORED": str(tmp_path / "restored")}
    variables = manual_variables(platform.data) | folders
    day = await play_day(platform, tieline, tmp_path)
    here = People(day.corp.owner, day.colleagues[0].me, day.colleagues[1].me)

    async with AsyncExitStack() as stack, following_the_log(platform.data, wal, variables):
        await run_commands(base, variables)
        # What follows is in the WAL alone.
        await send_text(here.second, day.group_id, "after the base backup")
        said = await read_messages(here)
        # Until the WAL is complete, or what it handles later would be in it.
        await stack.enter_async_context(standing_still(platform, "messaging"))
        await add_newcomer(tieline, day)
        await eventually(lambda: are_published(platform.data))
        kept = await read_others(here)
        await run_commands(hourly, variables)
        await eventually_followed(platform.data)
    await run_commands(restoration, variables)

    async with platform_process(tmp_path / "restored") as restored:
        await restored.is_up()
        endpoints = Endpoints.read(restored.data.path / "endpoints.json")
        async with connect(endpoints) as connection:
            there = await sign_in(connection, day)
            assert await read_others(there) == kept
            found = await read_messages(there)
            assert {each: found[each] for each in said} == said
            assert await read_plan(there, day) == PLAN
            line = await send_text(there.second, day.group_id, "after the restoration")
            assert line.sequence == said[day.group_id][-1].sequence + 1
            # Published before and handled by nobody: the stream brings it.
            newcomer = await day.channel.sign_in(connection, "newcomer", "新客")
            await eventually(lambda: has_conversation(newcomer, day), timeout_s=START_TIMEOUT_S)
        processes = restored.all_processes()

        # Whatever becomes of it, it leaves no process.
        await restored.stop(signal.SIGKILL)
        await eventually(lambda: not survivors(processes))


def read_commands() -> list[str]:
    """Return the manual's commands: the log, the base, streams and blobs, the restoration."""
    blocks: list[str] = re.findall(r"^```bash\n(.*?)^```$", MANUAL.read_text(), re.M | re.S)
    assert len(blocks) == 4
    return blocks


def manual_variables(data: DataDirectory) -> dict[str, str]:
    """Return what the manual says is set."""
    host, _, port = data.read_endpoints()["postgres"].rpartition(":")
    return {
        "DATA": str(data.path),
        "PGHOST": host,
        "PGPORT": port,
        "PGUSER": "postgres",
        "PGPASSWORD": data.read_secrets().postgres_password,
        "PATH": f"{binaries()}:{Path(sys.executable).parent}:{os.environ['PATH']}",
    }


async def start_commands(commands: str, variables: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", commands),
        env=environment(**variables),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def run_commands(commands: str, variables: dict[str, str]) -> None:
    process = await start_commands(commands, variables)
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


@asynccontextmanager
async def following_the_log(
    data: DataDirectory, commands: str, variables: dict[str, str]
) -> AsyncIterator[None]:
    """Receive the WAL within the block; leave no slot for which the server would keep more."""
    process = await start_commands(commands, variables)
    await eventually(lambda: is_followed(data, process))
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        await process.communicate()
        await eventually(lambda: is_slot_dropped(data))


async def is_followed(data: DataDirectory, process: asyncio.subprocess.Process) -> bool:
    assert process.returncode is None, "it runs until it is told to end"
    query = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
    return bool(await ask(data, query))


async def eventually_followed(data: DataDirectory) -> None:
    """Return when all that was committed until now is in the followed log."""
    position = await ask(data, "SELECT pg_current_wal_insert_lsn()::text")
    # Nothing else may be committed, and then the server would not write its last page out.
    await ask(data, "SELECT txid_current()")
    query = "SELECT bool_and(flush_lsn >= $1::text::pg_lsn) FROM pg_stat_replication"
    await eventually(lambda: ask(data, query, position))


async def is_slot_dropped(data: DataDirectory) -> bool:
    slots = "FROM pg_replication_slots WHERE slot_name = 'tieline_backup'"
    await ask(data, f"SELECT pg_drop_replication_slot(slot_name) {slots} AND NOT active")
    return not await ask(data, f"SELECT count(*) {slots}")


async def are_published(data: DataDirectory) -> bool:
    return not await ask(data, "SELECT count(*) FROM contacts.outbox")


async def ask(data: DataDirectory, query: str, *parameters: object) -> Any:
    host, _, port = data.read_endpoints()["postgres"].rpartition(":")
    connection = await asyncpg.connect(
        host=host,
        port=int(port),
        user="postgres",
        password=data.read_secrets().postgres_password,
        database="tieline",
    )
    try:
        return await connection.fetchval(query, *parameters)
    finally:
        await connection.close()


@asynccontextmanager
async def standing_still(platform: PlatformProcess, service: str) -> AsyncIterator[None]:
    """Start the service anew and stop it before it asks for events, until the block is left."""
    port = int(platform.data.read_endpoints()["services"][service].rpartition(":")[2])
    gone = platform.process_of("serve", service)
    gone.send_signal(signal.SIGTERM)
    started: list[psutil.Process] = []

    def is_started() -> bool:
        # By number: what has ended and is not reaped yet is equal to nothing.
        started[:] = [each for each in processes_of(platform, service) if each.pid != gone.pid]
        return bool(started)

    await eventually(is_started)
    (process,) = started
    process.suspend()
    try:
        yield
    finally:
        process.resume()
        await eventually(lambda: is_serving(port), timeout_s=START_TIMEOUT_S)


def processes_of(platform: PlatformProcess, service: str) -> list[psutil.Process]:
    found = []
    for process in platform.all_processes():
        with suppress(psutil.NoSuchProcess):
            if {"serve", service} <= set(process.cmdline()):
                found.append(process)
    return found


async def play_day(platform: PlatformProcess, tieline: Tieline, folder: Path) -> Day:
    """Play the main job's short form, and send a file."""
    administrator = await tieline.sign_in_platform_administrator(
        "platform", platform.data.read_secrets().platform_administrator_password
    )
    journal = Journal(Console(file=io.StringIO()))
    scale, material = short_day.SCALE, short_day.make_material(folder)
    stage = Stage(tieline, administrator, journal, scale, random.Random(scale.seed), material)
    corp = await found_corp(stage)
    await import_staff(stage, corp)
    colleagues = await invite_colleagues(stage, corp)
    await talk(stage, corp, colleagues)
    club = await receive_customers(stage, corp, colleagues)
    await give_red_packet(stage, corp, club)
    assert journal.all_hold, journal.checks
    channel = await Channel.open(administrator, "restored")
    me = colleagues[0].me
    way = await me.contacts.CreateContactWay(contacts.CreateContactWayRequest())
    opened = await me.messaging.CreateConversation(
        messaging.CreateConversationRequest(
            kind=messaging_pb2.CONVERSATION_KIND_GROUP,
            name="Plans",
            user_ids=[each.user_id for each in colleagues[1:]],
        )
    )
    group_id = opened.conversation.conversation_id
    plan = await upload_media(me.media, PLAN, media.MEDIA_KIND_FILE, "plan.pdf")
    content = messaging_pb2.MessageContent(
        file=message_content_pb2.FileContent(media_id=plan.media_id, name="plan.pdf")
    )
    await me.messaging.SendMessage(
        messaging.SendMessageRequest(conversation_id=group_id, content=content)
    )
    return Day(corp, colleagues, channel, group_id, plan.media_id, way.contact_way.code)


async def add_newcomer(tieline: Tieline, day: Day) -> None:
    newcomer = await day.channel.sign_in(tieline, "newcomer", "新客")
    await newcomer.contacts.AddContact(
        contacts.AddContactRequest(corp_id=day.corp.corp_id, code=day.code)
    )


async def sign_in(tieline: Tieline, day: Day) -> People:
    """Sign two members in by their passwords; the owner's session goes on."""
    first, second = [
        await tieline.sign_in_member(day.corp.corp_id, each.user_id, each.password)
        for each in day.colleagues[:2]
    ]
    return People(tieline.resume(day.corp.owner.tokens), first, second)


async def read_messages(people: People) -> Messages:
    """Return what they read, whole conversations."""
    found: Messages = {}
    for me in (people.owner, people.first, people.second):
        request = messaging.ListConversationsRequest()
        async for conversation in pages(me.messaging.ListConversations, request):
            read = message_range(me.messaging, conversation.conversation_id)
            found[conversation.conversation_id] = [message async for message in read]
    return found


async def read_others(people: People) -> dict[str, object]:
    """Return what the other services have of the corp."""
    owner = people.owner
    ledger = await owner.payments.CheckLedger(payments.CheckLedgerRequest())
    assert ledger.balanced
    assert not ledger.wrong_account_ids
    members = pages(owner.directory.ListMembers, directory.ListMembersRequest())
    known = pages(people.first.contacts.ListContacts, contacts.ListContactsRequest())
    return {
        "members": [each async for each in members],
        "contacts": [each async for each in known],
        "ledger": ledger,
        "balance": await owner.payments.GetBalance(payments.GetBalanceRequest()),
    }


async def read_plan(people: People, day: Day) -> bytes:
    """Download the file as somebody to whom it was sent; the library compares its checksum."""
    target = io.BytesIO()
    await download_media(people.second.media, day.media_id, target)
    return target.getvalue()


async def has_conversation(newcomer: SignedInCustomer, day: Day) -> bool:
    request = messaging.ListConversationsRequest(corp_id=day.corp.corp_id)
    return bool((await newcomer.messaging.ListConversations(request)).conversations)
