"""CreateCorp, VerifyCorp, GetCorp."""

import asyncio
import uuid

import pytest

from integration.identity.world import TIMEOUT_S, Identity, corp_request, describe, refusal
from published_events import published_events
from tieline.api.identity.v1 import identity_pb2, identity_service_pb2

UNKNOWN_CORP_ID = "ww" + "0" * 24


async def verify(
    identity: Identity, corp_id: str, evidence: str = "licence 91310000"
) -> identity_pb2.Corp:
    response = await identity.stub.VerifyCorp(
        identity_service_pb2.VerifyCorpRequest(corp_id=corp_id, evidence=evidence),
        metadata=identity.platform,
        timeout=TIMEOUT_S,
    )
    return response.corp


async def test_a_new_corp_is_returned_as_it_was_asked_for(identity: Identity) -> None:
    created = await identity.create_corp(corp_request(owner_user_id="Boss.Z"))

    assert created.corp.display_name == "Jinyu Jewellery"
    assert created.corp.kind == identity_pb2.CORP_KIND_COMPANY
    assert created.corp.owner_user_id == created.owner_invitation.user_id == "boss.z"
    assert not created.corp.HasField("verify_time")
    lifetime_s = created.owner_invitation.expire_time.seconds - created.corp.create_time.seconds
    assert lifetime_s == 7 * 86400


async def test_a_new_corp_is_told_to_the_other_services(identity: Identity) -> None:
    created = await identity.create_corp()

    events = await published_events(identity.nats, "IDENTITY", created.corp.corp_id, 1)
    [(subject, payload)] = events
    assert subject == "tieline.identity.v1.corp_created"
    event = identity_pb2.CorpCreated.FromString(payload)
    assert event.corp == created.corp
    assert event.owner_name == "Zhou Jin"
    assert event.event_id


async def test_a_repeat_creates_one_corp_and_gives_the_same_code(identity: Identity) -> None:
    request = corp_request()

    first, *others = await asyncio.gather(*(identity.create_corp(request) for _ in range(4)))
    later = await identity.create_corp(request)

    assert all(response == first for response in [*others, later])
    assert len(first.owner_invitation.code) == 26
    await identity.accept(first.corp.corp_id, "boss", first.owner_invitation.code)


async def test_a_repeat_with_other_contents_is_refused(identity: Identity) -> None:
    request = corp_request()
    await identity.create_corp(request)
    request.display_name = "Another"

    error = await refusal(identity.create_corp(request))

    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "REQUEST_ID_REUSED")


async def test_all_wrong_fields_are_named_and_nothing_is_created(identity: Identity) -> None:
    count = "SELECT count(*) FROM identity.corps"
    before = await identity.execute(count)

    error = await refusal(
        identity.create_corp(corp_request(display_name="", kind=0, owner_user_id="?"))
    )
    unnamed = await refusal(identity.create_corp(corp_request(request_id="1")))

    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert set(error.violations) == {"display_name", "kind", "owner_user_id"}
    assert list(unnamed.violations) == ["request_id"]
    assert await identity.execute(count) == before


async def test_the_code_is_stored_nowhere(identity: Identity) -> None:
    created = await identity.create_corp()
    code = created.owner_invitation.code

    for table in ("first_answers", "outbox", "invitations", "accounts", "corps"):
        rows = await identity.execute(
            f"""
            SELECT 1 FROM identity.{table} AS t
             WHERE strpos(t::text, $1) > 0
                OR strpos(t::text, encode(convert_to($1, 'UTF8'), 'hex')) > 0
            """,
            code,
        )
        assert rows == [], table
    stored = await identity.execute("SELECT response FROM identity.first_answers")
    assert all(code.encode() not in row["response"] for row in stored)


async def test_a_verified_corp_has_a_label_and_stays_as_it_was_first_verified(
    identity: Identity,
) -> None:
    created = await identity.create_corp()
    corp_id = created.corp.corp_id

    first = await verify(identity, corp_id)
    again = await asyncio.gather(*(verify(identity, corp_id, f"other {i}") for i in range(4)))

    assert first.verified_label == "Jinyu Jewellery · company · verified"
    assert first.HasField("verify_time")
    assert again == [first] * 4
    [row] = await identity.execute(
        "SELECT evidence, reviewer FROM identity.verifications WHERE corp_id = $1", corp_id
    )
    assert tuple(row) == ("licence 91310000", "platform")


@pytest.mark.parametrize("corp_id", [UNKNOWN_CORP_ID, "ww", "\x00"])
async def test_a_corp_that_is_not_there_is_not_found(identity: Identity, corp_id: str) -> None:
    reading = await refusal(identity.get_corp(identity.platform, corp_id))
    verifying = await refusal(verify(identity, corp_id))

    assert (reading.code, reading.reason) == ("NOT_FOUND", "CORP_NOT_FOUND")
    assert describe(verifying) == describe(reading)


async def test_a_verification_without_evidence_is_refused(identity: Identity) -> None:
    created = await identity.create_corp()

    error = await refusal(verify(identity, created.corp.corp_id, ""))

    assert list(error.violations) == ["evidence"]
    corp = await identity.get_corp(identity.platform, created.corp.corp_id)
    assert not corp.corp.HasField("verify_time")


async def test_a_member_reads_the_own_corp_and_no_other(identity: Identity) -> None:
    own, other = await identity.new_corp(), await identity.new_corp()

    unnamed = await identity.get_corp(own.owner)
    named = await identity.get_corp(own.owner, own.corp_id)
    of_other = await refusal(identity.get_corp(own.owner, other.corp_id))
    of_nobody = await refusal(identity.get_corp(own.owner, UNKNOWN_CORP_ID))

    assert unnamed == named
    assert named.corp.corp_id == own.corp_id
    assert (of_other.code, of_other.reason) == ("NOT_FOUND", "CORP_NOT_FOUND")
    assert of_other.text == of_nobody.text


async def test_platform_administrators_must_name_the_corp(identity: Identity) -> None:
    error = await refusal(identity.get_corp(identity.platform))

    assert list(error.violations) == ["corp_id"]


async def test_members_neither_create_nor_verify_corps(identity: Identity) -> None:
    corp = await identity.new_corp()
    stub = identity.stub

    errors = [
        await refusal(stub.CreateCorp(corp_request(), metadata=corp.owner)),
        await refusal(
            stub.VerifyCorp(
                identity_service_pb2.VerifyCorpRequest(corp_id=corp.corp_id, evidence="me"),
                metadata=corp.owner,
            )
        ),
        await refusal(
            stub.CreateChannel(
                identity_service_pb2.CreateChannelRequest(request_id=str(uuid.uuid4())),
                metadata=corp.owner,
            )
        ),
    ]

    assert [error.reason for error in errors] == ["CALLER_NOT_ALLOWED"] * 3
