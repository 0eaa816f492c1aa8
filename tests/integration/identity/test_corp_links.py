"""CorpLinkService: two corps link, each sees the same link, nobody else sees it."""

import asyncio
import uuid

import pytest

from integration.identity.world import (
    TIMEOUT_S,
    Identity,
    Metadata,
    NewCorp,
    bearer,
    corp_request,
    refusal,
)
from published_events import published_events
from tieline.api.common.v1 import access_pb2
from tieline.api.identity.v1 import corp_link_pb2, identity_pb2, identity_service_pb2
from tieline.api.identity.v1 import corp_link_service_pb2 as pb

GROUP = corp_link_pb2.CORP_LINK_KIND_GROUP
UPSTREAM = corp_link_pb2.CORP_LINK_KIND_UPSTREAM_DOWNSTREAM
BUREAU = corp_link_pb2.CORP_LINK_KIND_BUREAU_SCHOOL
EVERYBODY = corp_link_pb2.CorpLinkShare(
    scope=corp_link_pb2.CORP_LINK_SHARE_SCOPE_WHOLE_DIRECTORY, mobile_shared=True
)
SALES = corp_link_pb2.CorpLinkShare(
    scope=corp_link_pb2.CORP_LINK_SHARE_SCOPE_DEPARTMENTS, department_ids=[7, 9]
)
NOBODY = corp_link_pb2.CorpLinkShare(scope=corp_link_pb2.CORP_LINK_SHARE_SCOPE_NOTHING)


async def invite(
    identity: Identity,
    owner: Metadata,
    invited_corp_id: str,
    kind: "corp_link_pb2.CorpLinkKind.ValueType" = GROUP,
    *,
    share: corp_link_pb2.CorpLinkShare | None = None,
    request_id: str = "",
) -> corp_link_pb2.CorpLink:
    response = await identity.corp_links.InviteCorpLink(
        pb.InviteCorpLinkRequest(
            request_id=request_id or str(uuid.uuid4()),
            invited_corp_id=invited_corp_id,
            kind=kind,
            share=share,
        ),
        metadata=owner,
        timeout=TIMEOUT_S,
    )
    return response.link


async def accept(
    identity: Identity,
    owner: Metadata,
    link_id: str,
    share: corp_link_pb2.CorpLinkShare | None = None,
) -> corp_link_pb2.CorpLink:
    response = await identity.corp_links.AcceptCorpLink(
        pb.AcceptCorpLinkRequest(link_id=link_id, share=share), metadata=owner, timeout=TIMEOUT_S
    )
    return response.link


async def leave(identity: Identity, owner: Metadata, link_id: str) -> corp_link_pb2.CorpLink:
    response = await identity.corp_links.LeaveCorpLink(
        pb.LeaveCorpLinkRequest(link_id=link_id), metadata=owner, timeout=TIMEOUT_S
    )
    return response.link


async def share(
    identity: Identity,
    owner: Metadata,
    link_id: str,
    value: corp_link_pb2.CorpLinkShare,
    etag: str = "",
) -> corp_link_pb2.CorpLink:
    response = await identity.corp_links.UpdateCorpLinkShare(
        pb.UpdateCorpLinkShareRequest(link_id=link_id, share=value, etag=etag),
        metadata=owner,
        timeout=TIMEOUT_S,
    )
    return response.link


async def list_links(
    identity: Identity, owner: Metadata, page_size: int = 0, **changes: int
) -> list[corp_link_pb2.CorpLink]:
    found: list[corp_link_pb2.CorpLink] = []
    token = ""
    while True:
        response = await identity.corp_links.ListCorpLinks(
            pb.ListCorpLinksRequest(
                page_size=page_size,
                page_token=token,
                **changes,  # type: ignore[arg-type]
            ),
            metadata=owner,
            timeout=TIMEOUT_S,
        )
        found += response.links
        token = response.next_page_token
        if not token:
            return found


async def new_corp(identity: Identity, kind: "identity_pb2.CorpKind.ValueType") -> NewCorp:
    created = await identity.create_corp(corp_request(kind=kind))
    session = await identity.accept(created.corp.corp_id, "boss", created.owner_invitation.code)
    return NewCorp(created.corp.corp_id, bearer(session), session)


async def test_two_corps_link_and_each_decides_what_it_shares(identity: Identity) -> None:
    upper, lower = await identity.new_corp(), await identity.new_corp()

    invited = await invite(identity, upper.owner, lower.corp_id, share=EVERYBODY)
    accepted = await accept(identity, lower.owner, invited.link_id, SALES)
    changed = await share(identity, upper.owner, invited.link_id, SALES, accepted.etag)
    left = await leave(identity, lower.owner, invited.link_id)

    assert (invited.state, invited.kind) == (corp_link_pb2.CORP_LINK_STATE_INVITED, GROUP)
    assert (invited.upper.corp.corp_id, invited.lower.corp.corp_id) == (
        upper.corp_id,
        lower.corp_id,
    )
    assert (invited.upper.share, invited.lower.share) == (EVERYBODY, NOBODY)
    assert accepted.state == corp_link_pb2.CORP_LINK_STATE_ACTIVE
    assert (accepted.upper.share, accepted.lower.share) == (EVERYBODY, SALES)
    assert (changed.upper.share, changed.lower.share) == (SALES, SALES)
    assert left.state == corp_link_pb2.CORP_LINK_STATE_LEFT
    events = await published_events(identity.nats, "IDENTITY", f"corp_links/{invited.link_id}", 4)
    told = [corp_link_pb2.CorpLinkChanged.FromString(payload).link for _, payload in events]
    assert told == [invited, accepted, changed, left]


async def test_both_sides_and_nobody_else_see_the_link(identity: Identity) -> None:
    upper, lower, other = [await identity.new_corp() for _ in range(3)]
    invited = await invite(identity, upper.owner, lower.corp_id)

    seen = [await list_links(identity, corp.owner) for corp in (upper, lower, other)]
    errors = [
        await refusal(accept(identity, other.owner, invited.link_id)),
        await refusal(leave(identity, other.owner, invited.link_id)),
        await refusal(share(identity, other.owner, invited.link_id, EVERYBODY)),
        await refusal(leave(identity, other.owner, str(uuid.uuid4()))),
        await refusal(leave(identity, other.owner, "\x00")),
    ]

    assert seen == [[invited], [invited], []]
    assert {(error.code, error.reason, error.text) for error in errors} == {
        ("NOT_FOUND", "CORP_LINK_NOT_FOUND", "the corp has no such link")
    }


async def test_a_repeat_of_an_answer_changes_nothing_that_came_after_it(
    identity: Identity,
) -> None:
    upper, lower = await identity.new_corp(), await identity.new_corp()
    request_id = str(uuid.uuid4())
    invitations = await asyncio.gather(
        *(invite(identity, upper.owner, lower.corp_id, request_id=request_id) for _ in range(4))
    )
    link_id = invitations[0].link_id
    await asyncio.gather(*(accept(identity, lower.owner, link_id, SALES) for _ in range(4)))
    changed = await share(identity, lower.owner, link_id, EVERYBODY)

    again = await accept(identity, lower.owner, link_id, SALES)
    same = await share(identity, lower.owner, link_id, EVERYBODY)
    left = await leave(identity, upper.owner, link_id)
    left_again = await leave(identity, lower.owner, link_id)
    late = await refusal(accept(identity, lower.owner, link_id, SALES))

    assert {invitation.link_id for invitation in invitations} == {link_id}
    assert again == same == changed
    assert left == left_again
    assert (late.code, late.reason) == ("FAILED_PRECONDITION", "CORP_LINK_STATE")


async def test_two_corps_have_one_open_link_of_a_kind_whoever_invites(identity: Identity) -> None:
    one, two = await identity.new_corp(), await identity.new_corp()

    outcomes = await asyncio.gather(
        invite(identity, one.owner, two.corp_id),
        invite(identity, two.owner, one.corp_id),
        return_exceptions=True,
    )
    [made] = [outcome for outcome in outcomes if isinstance(outcome, corp_link_pb2.CorpLink)]
    error = await refusal(invite(identity, one.owner, two.corp_id))
    await invite(identity, one.owner, two.corp_id, UPSTREAM)
    inviter = one if made.upper.corp.corp_id == one.corp_id else two
    await leave(identity, inviter.owner, made.link_id)
    anew = await invite(identity, one.owner, two.corp_id)

    assert (error.code, error.reason) == ("ALREADY_EXISTS", "CORP_LINK_EXISTS")
    assert error.metadata == {"linkId": made.link_id}
    assert anew.link_id != made.link_id


async def test_a_declined_invitation_is_not_among_the_open_links(identity: Identity) -> None:
    upper, lower = await identity.new_corp(), await identity.new_corp()
    invited = await invite(identity, upper.owner, lower.corp_id)

    own = await refusal(
        identity.corp_links.DeclineCorpLink(
            pb.DeclineCorpLinkRequest(link_id=invited.link_id), metadata=upper.owner
        )
    )
    declined = await identity.corp_links.DeclineCorpLink(
        pb.DeclineCorpLinkRequest(link_id=invited.link_id), metadata=lower.owner
    )

    assert own.reason == "CORP_LINK_STATE"
    assert await list_links(identity, upper.owner) == []
    declined_ones = await list_links(
        identity, upper.owner, state=corp_link_pb2.CORP_LINK_STATE_DECLINED
    )
    assert declined_ones == [declined.link]


async def test_a_school_joins_its_bureau_and_no_supplier(identity: Identity) -> None:
    bureau = await new_corp(identity, identity_pb2.CORP_KIND_GOVERNMENT)
    school = await new_corp(identity, identity_pb2.CORP_KIND_SCHOOL)
    company = await identity.new_corp()

    link = await invite(identity, bureau.owner, school.corp_id, BUREAU)
    errors = [
        await refusal(invite(identity, company.owner, school.corp_id, UPSTREAM)),
        await refusal(invite(identity, school.owner, company.corp_id, UPSTREAM)),
        await refusal(invite(identity, company.owner, school.corp_id, BUREAU)),
    ]

    assert link.lower.corp.kind == identity_pb2.CORP_KIND_SCHOOL
    assert [error.reason for error in errors] == ["CORPS_NOT_LINKABLE"] * 3


async def test_inviting_tells_no_more_than_a_profile_does(identity: Identity) -> None:
    corp, hidden = await identity.new_corp(), await identity.new_corp()
    await identity.stub.SuspendCorp(
        identity_service_pb2.SuspendCorpRequest(
            request_id=str(uuid.uuid4()), corp_id=hidden.corp_id, reason="spam"
        ),
        metadata=identity.platform,
    )

    errors = [
        await refusal(invite(identity, corp.owner, corp_id))
        for corp_id in (hidden.corp_id, "ww" + "0" * 24, "\x00", "")
    ]

    assert {(error.code, error.text) for error in errors} == {("NOT_FOUND", "no such corp")}


@pytest.mark.parametrize("field", ["kind", "invited_corp_id", "share.scope"])
async def test_a_wrong_invitation_names_its_field(identity: Identity, field: str) -> None:
    corp, other = await identity.new_corp(), await identity.new_corp()
    invited_corp_id = corp.corp_id if field == "invited_corp_id" else other.corp_id
    kind = 0 if field == "kind" else GROUP
    wanted = corp_link_pb2.CorpLinkShare(scope=9) if field == "share.scope" else None  # type: ignore[arg-type]

    error = await refusal(
        invite(identity, corp.owner, invited_corp_id, kind, share=wanted)  # type: ignore[arg-type]
    )

    assert list(error.violations) == [field]
    assert await list_links(identity, corp.owner) == []


async def test_links_are_managed_with_the_right_for_it(identity: Identity) -> None:
    corp, other = await identity.new_corp(), await identity.new_corp()
    manager = await identity.new_administrator(corp, access_pb2.RIGHT_MANAGE_CORP)
    no_manager = await identity.new_administrator(
        corp, access_pb2.RIGHT_MANAGE_DIRECTORY, user_id="wang"
    )

    link = await invite(identity, manager, other.corp_id)
    errors = [
        await refusal(invite(identity, no_manager, other.corp_id)),
        await refusal(list_links(identity, no_manager)),
        await refusal(leave(identity, no_manager, link.link_id)),
    ]

    assert {error.reason for error in errors} == {"CALLER_NOT_ALLOWED"}


async def test_a_share_is_changed_only_from_what_was_read(identity: Identity) -> None:
    upper, lower = await identity.new_corp(), await identity.new_corp()
    link = await invite(identity, upper.owner, lower.corp_id)
    await share(identity, lower.owner, link.link_id, SALES)

    error = await refusal(share(identity, lower.owner, link.link_id, EVERYBODY, link.etag))

    assert error.reason == "ETAG_MISMATCH"
    [now] = await list_links(identity, upper.owner)
    assert now.lower.share == SALES


async def test_links_are_listed_in_pages_the_newest_first(identity: Identity) -> None:
    upper = await identity.new_corp()
    links = []
    for _ in range(3):
        lower = await identity.new_corp()
        links.append(await invite(identity, upper.owner, lower.corp_id))

    assert await list_links(identity, upper.owner, page_size=2) == links[::-1]
    assert await list_links(identity, upper.owner, kind=UPSTREAM) == []
