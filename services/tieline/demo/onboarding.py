"""Act one: the corp comes on board, and some of its people get accounts."""

import asyncio
import csv
import secrets
import time
from dataclasses import dataclass

from tieline.api.directory.v1 import directory_service_pb2
from tieline.api.identity.v1 import identity_pb2, identity_service_pb2
from tieline.client import SignedIn, pages
from tieline.demo.stage import DemoError, Stage, together

OWNER_ID = "zhou.yu"
OWNER_NAME = "周玉"

# Direct conversations need pairs, groups a few more.
MIN_COLLEAGUES = 8

# An import is made searchable at some 3,000 members a second.
_SEARCHABLE_TIMEOUT_S = 120.0
_SEARCHABLE_PAUSE_S = 0.2


@dataclass(frozen=True, slots=True)
class Corp:
    """The retailer and its owner."""

    corp_id: str
    owner: SignedIn


@dataclass(frozen=True, slots=True)
class Colleague:
    """A member who takes part in the day."""

    user_id: str
    name: str
    password: str
    me: SignedIn


async def found_corp(stage: Stage) -> Corp:
    """Create and verify the corp; its owner accepts the invitation."""
    identity = stage.administrator.identity
    with stage.journal.step("corps created and verified") as step:
        created = await identity.CreateCorp(
            identity_service_pb2.CreateCorpRequest(
                display_name=stage.material.corp_name,
                kind=identity_pb2.CORP_KIND_COMPANY,
                owner_user_id=OWNER_ID,
                owner_name=OWNER_NAME,
            )
        )
        corp_id = created.corp.corp_id
        await identity.VerifyCorp(
            identity_service_pb2.VerifyCorpRequest(
                corp_id=corp_id, evidence="营业执照 310000000000"
            )
        )
        owner = await stage.tieline.accept_invitation(
            corp_id, OWNER_ID, created.owner_invitation.code, secrets.token_urlsafe()
        )
        step.count = 1
    return Corp(corp_id, owner)


async def ask_for_deletion(stage: Stage, corp: Corp) -> None:
    """Have the corp deleted after the platform's time of grace."""
    request = identity_service_pb2.DeleteCorpRequest(corp_id=corp.corp_id)
    await stage.administrator.identity.DeleteCorp(request)


async def invite_colleagues(stage: Stage, corp: Corp) -> list[Colleague]:
    """Invite some of the staff; each sets a password and is signed in by it."""
    chosen = _choose(stage)
    with stage.journal.step("staff invited and signed in") as step:
        response = await corp.owner.identity.CreateInvitations(
            identity_service_pb2.CreateInvitationsRequest(user_ids=list(chosen))
        )
        colleagues = await together(
            _accept(stage, corp, invitation, chosen[invitation.user_id])
            for invitation in response.invitations
        )
        step.count = len(colleagues)
    return colleagues


async def find_each_other(stage: Stage, colleagues: list[Colleague]) -> None:
    """Let everybody look the next one up by name, once the import is searchable."""
    with stage.journal.step("staff made searchable") as step:
        await _wait_until_searchable(colleagues[0])
        step.count = stage.scale.staff
    seekers = zip(colleagues, [*colleagues[1:], colleagues[0]], strict=True)
    with stage.journal.step("colleagues found by name") as step:
        found = await together(_search(seeker, sought) for seeker, sought in seekers)
        step.count = sum(found)
    missing = len(found) - sum(found)
    stage.promise(
        "people are found",
        f"{missing} not found by name" if missing else "",
        f"{len(found)} searches among {stage.scale.staff:,} staff",
    )


def _choose(stage: Stage) -> dict[str, str]:
    """Return user ids and names of the staff who take part."""
    with stage.material.staff_file.open(encoding="utf-8-sig", newline="") as file:
        names = {row["user_id"].lower(): row["name"] for row in csv.DictReader(file)}
    count = min(stage.scale.colleagues, len(names))
    if count < MIN_COLLEAGUES:
        raise DemoError(
            f"{stage.material.staff_file}: the day needs at least {MIN_COLLEAGUES} staff"
        )
    return {user_id: names[user_id] for user_id in stage.chance.sample(sorted(names), count)}


async def _accept(
    stage: Stage, corp: Corp, invitation: identity_pb2.Invitation, name: str
) -> Colleague:
    password = secrets.token_urlsafe()
    me = await stage.tieline.accept_invitation(
        corp.corp_id, invitation.user_id, invitation.code, password
    )
    return Colleague(invitation.user_id, name, password, me)


async def _wait_until_searchable(seeker: Colleague) -> None:
    request = directory_service_pb2.SearchMembersRequest(query=seeker.name, page_size=1)
    deadline = time.monotonic() + _SEARCHABLE_TIMEOUT_S
    while (await seeker.me.directory.SearchMembers(request)).incomplete:
        if time.monotonic() > deadline:
            raise DemoError(
                f"the staff is not searchable {_SEARCHABLE_TIMEOUT_S:.0f} s after the import: "
                "see the directory's log"
            )
        await asyncio.sleep(_SEARCHABLE_PAUSE_S)


async def _search(seeker: Colleague, sought: Colleague) -> bool:
    # Among 36,000 people a few dozen have the same name.
    request = directory_service_pb2.SearchMembersRequest(query=sought.name, page_size=100)
    async for member in pages(seeker.me.directory.SearchMembers, request):
        if member.user_id == sought.user_id:
            return True
    return False
