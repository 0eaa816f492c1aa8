"""The README's first code example runs as it stands there."""

import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from e2e.platform_process import PlatformProcess
from fakes.eventually import eventually
from tieline.api.directory.v1 import directory_service_pb2
from tieline.api.identity.v1 import identity_pb2, identity_service_pb2
from tieline.client import Endpoints, SignedIn, Tieline, TielineError

README = Path(__file__).parents[2] / "README.md"
PASSWORD = secrets.token_urlsafe()
STAFF = b"user_id,name,department\nwang.fang,Wang Fang,Sales\n"


def read_example() -> str:
    found = re.search(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None, "the README has no Python example"
    return found.group(1)


async def has_imported(owner: SignedIn) -> bool:
    """Import the staff; False while the directory has not heard of the new corp yet."""
    try:
        async for _ in owner.directory.ImportMembers(import_requests()):
            pass
    except TielineError as error:
        if error.reason == "CORP_NOT_READY":
            return False
        raise
    return True


async def import_requests() -> AsyncIterator[directory_service_pb2.ImportMembersRequest]:
    config = directory_service_pb2.ImportMembersConfig()
    yield directory_service_pb2.ImportMembersRequest(config=config)
    yield directory_service_pb2.ImportMembersRequest(chunk=STAFF)


@pytest.fixture
async def corp_id(platform: PlatformProcess, tieline: Tieline) -> str:
    """A corp whose owner is li.wei, with one colleague."""
    administrator = await tieline.sign_in_platform_administrator(
        "platform", platform.data.read_secrets().platform_administrator_password
    )
    created = await administrator.identity.CreateCorp(
        identity_service_pb2.CreateCorpRequest(
            display_name="Jinyu Jewellery",
            kind=identity_pb2.CORP_KIND_COMPANY,
            owner_user_id="li.wei",
            owner_name="Li Wei",
        )
    )
    owner = await tieline.accept_invitation(
        created.corp.corp_id, "li.wei", created.owner_invitation.code, PASSWORD
    )
    await eventually(lambda: has_imported(owner))
    return created.corp.corp_id


async def test_example_sends_a_message_and_reads_it_back(
    platform: PlatformProcess, corp_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    namespace: dict[str, Any] = {"__name__": "readme"}
    exec(compile(read_example(), str(README), "exec"), namespace)  # noqa: S102 -- its purpose

    endpoints = Endpoints.read(platform.data.path / "endpoints.json")
    await namespace["say_hello"](endpoints, corp_id, "li.wei", PASSWORD, "wang.fang")

    assert capsys.readouterr().out.splitlines() == ["stored as number 1", "1 li.wei: 早上好"]
