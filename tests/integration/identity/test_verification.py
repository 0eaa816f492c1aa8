"""RequestVerification, ListVerificationRequests, VerifyCorp, RejectVerification."""

import asyncio
import uuid

from integration.identity.world import TIMEOUT_S, Identity, Metadata, NewCorp, refusal
from tieline.api.identity.v1 import identity_pb2
from tieline.api.identity.v1 import identity_service_pb2 as pb

OPEN = identity_pb2.VERIFICATION_STATE_OPEN


async def ask(
    identity: Identity, corp: NewCorp, text: str = "licence", request_id: str = ""
) -> identity_pb2.VerificationRequest:
    response = await identity.stub.RequestVerification(
        pb.RequestVerificationRequest(
            request_id=request_id or str(uuid.uuid4()),
            evidence=identity_pb2.VerificationEvidence(
                text=text, registration_number="91310000", media_ids=["scan-1"]
            ),
        ),
        metadata=corp.owner,
        timeout=TIMEOUT_S,
    )
    return response.verification_request


async def reject(identity: Identity, corp_id: str, request_id: str) -> None:
    await identity.stub.RejectVerification(
        pb.RejectVerificationRequest(
            request_id=str(uuid.uuid4()),
            corp_id=corp_id,
            verification_request_id=request_id,
            reason="the scan can't be read",
        ),
        metadata=identity.platform,
        timeout=TIMEOUT_S,
    )


async def verify(identity: Identity, corp_id: str, etag: str = "") -> identity_pb2.Corp:
    response = await identity.stub.VerifyCorp(
        pb.VerifyCorpRequest(corp_id=corp_id, evidence="seen", etag=etag),
        metadata=identity.platform,
        timeout=TIMEOUT_S,
    )
    return response.corp


async def list_requests(
    identity: Identity, metadata: Metadata, corp_id: str = "", **changes: int
) -> list[identity_pb2.VerificationRequest]:
    found: list[identity_pb2.VerificationRequest] = []
    token = ""
    while True:
        response = await identity.stub.ListVerificationRequests(
            pb.ListVerificationRequestsRequest(
                corp_id=corp_id,
                page_size=2,
                page_token=token,
                **changes,  # type: ignore[arg-type]
            ),
            metadata=metadata,
            timeout=TIMEOUT_S,
        )
        found += response.verification_requests
        token = response.next_page_token
        if not token:
            return found


async def test_a_corp_asks_is_rejected_asks_again_and_is_verified(identity: Identity) -> None:
    corp = await identity.new_corp()

    first = await ask(identity, corp)
    await reject(identity, corp.corp_id, first.verification_request_id)
    second = await ask(identity, corp, "a better scan")
    third = await ask(identity, corp, "the best scan")
    verified = await verify(identity, corp.corp_id)

    seen = await list_requests(identity, corp.owner)
    assert [request.state for request in seen] == [
        identity_pb2.VERIFICATION_STATE_REJECTED,
        identity_pb2.VERIFICATION_STATE_WITHDRAWN,
        identity_pb2.VERIFICATION_STATE_APPROVED,
    ]
    assert seen[0].reject_reason == "the scan can't be read"
    assert [request.evidence for request in seen] == [
        request.evidence for request in (first, second, third)
    ]
    assert (first.state, first.display_name, first.requester_user_id) == (
        OPEN,
        "Jinyu Jewellery",
        "boss",
    )
    assert verified.verified_label == "Jinyu Jewellery · company · verified"
    error = await refusal(ask(identity, corp))
    assert error.reason == "CORP_VERIFIED"


async def test_requests_at_once_leave_one_open(identity: Identity) -> None:
    corp = await identity.new_corp()
    request_id = str(uuid.uuid4())

    same = await asyncio.gather(*(ask(identity, corp, request_id=request_id) for _ in range(4)))
    await asyncio.gather(*(ask(identity, corp) for _ in range(4)))

    assert len({request.verification_request_id for request in same}) == 1
    found = await list_requests(identity, corp.owner)
    assert len(found) == 5
    assert len([request for request in found if request.state == OPEN]) == 1


async def test_a_reviewer_verifies_no_name_that_was_not_seen(identity: Identity) -> None:
    corp = await identity.new_corp()
    asked = await ask(identity, corp)
    seen = (await identity.get_corp(identity.platform, corp.corp_id)).corp
    renaming = pb.UpdateCorpRequest(
        request_id=str(uuid.uuid4()), corp=identity_pb2.Corp(display_name="Bank of China")
    )
    renaming.update_mask.paths.append("display_name")
    await identity.stub.UpdateCorp(renaming, metadata=corp.owner)

    verifying = await refusal(verify(identity, corp.corp_id, seen.etag))
    rejecting = await refusal(reject(identity, corp.corp_id, asked.verification_request_id))

    assert verifying.reason == "ETAG_MISMATCH"
    assert (rejecting.reason, rejecting.metadata) == (
        "VERIFICATION_DECIDED",
        {"state": "withdrawn"},
    )
    assert (await identity.get_corp(corp.owner)).corp.verified_label == ""


async def test_a_corp_sees_its_own_requests_and_the_platform_all(identity: Identity) -> None:
    corp, other = await identity.new_corp(), await identity.new_corp()
    own, of_other = await ask(identity, corp), await ask(identity, other)

    platform = await list_requests(identity, identity.platform, state=OPEN)
    one = await list_requests(identity, identity.platform, other.corp_id)
    naming_another = await refusal(list_requests(identity, corp.owner, other.corp_id))
    stranger = await refusal(reject(identity, corp.corp_id, of_other.verification_request_id))

    assert await list_requests(identity, corp.owner) == [own]
    assert own in platform
    assert of_other in platform
    assert one == [of_other]
    assert naming_another.reason == "CORP_NOT_FOUND"
    assert stranger.reason == "VERIFICATION_REQUEST_NOT_FOUND"
