"""Limits of addresses, corps and users: what counts, and for whom."""

import asyncio

import pytest

from fakes.edges import (
    SERVICE,
    MakeReplica,
    StartEdge,
    has_begun,
    open_channel,
    read_page,
    token,
)
from fakes.eventually import eventually
from fakes.raw_http2 import request
from tieline.chassis.interceptors.refusals import ADMISSION_KEY
from tieline.edge.methods import list_methods
from tieline.embedded.ports import find_free_port

pytestmark = pytest.mark.haproxy


async def test_a_corp_over_its_limit_is_refused_and_no_other(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    edge = await start_edge(make_replica(), edge_corp_calls_per_minute=20)

    loud = [await edge.code(token=token("ww1", f"user{n}")) for n in range(25)]
    other_corp = await edge.code(token=token("ww2"))
    other_method = await edge.code("SendMessage", token=token("ww1"))

    assert loud == ["OK"] * 20 + ["RESOURCE_EXHAUSTED"] * 5
    assert (other_corp, other_method) == ("OK", "OK")


async def test_a_forged_token_uses_up_its_senders_address_and_nobodys_share(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    edge = await start_edge(
        make_replica(), edge_corp_calls_per_minute=10, edge_address_failures_per_hour=30
    )

    forged = [await edge.code(token=token("ww1"), status="UNAUTHENTICATED") for _ in range(20)]
    honest = await edge.code(token=token("ww1"))
    more = [await edge.code(token=token("ww1"), status="UNAUTHENTICATED") for _ in range(15)]

    assert forged == ["UNAUTHENTICATED"] * 20
    assert honest == "OK"
    assert more == ["UNAUTHENTICATED"] * 10 + ["RESOURCE_EXHAUSTED"] * 5


@pytest.mark.parametrize("status", ["UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"])
async def test_a_refusal_that_may_come_before_the_token_is_looked_at_counts_for_no_corp_or_user(
    status: str, make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    """Of a replica that is overloaded or not ready; the last one of gRPC's core."""
    edge = await start_edge(
        make_replica(), edge_corp_calls_per_minute=10, edge_user_calls_per_minute=10
    )

    forged = [await edge.code(token=token("ww1"), status=status) for _ in range(12)]
    honest = await edge.code(token=token("ww1"))

    assert forged == [status] * 12
    assert honest == "OK"


@pytest.mark.parametrize(
    ("status", "trailer"),
    [
        ("NOT_FOUND", ""),
        ("INVALID_ARGUMENT", ""),
        ("PERMISSION_DENIED", ""),
        ("RESOURCE_EXHAUSTED", ADMISSION_KEY),
    ],
)
async def test_an_error_that_only_a_verified_caller_gets_counts_as_a_call(
    status: str, trailer: str, make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    edge = await start_edge(make_replica(), edge_corp_calls_per_minute=10)
    asked = (("x-test-trailer", trailer),)

    refused = [
        await edge.code(token=token("ww1", f"user{n}"), status=status, metadata=asked)
        for n in range(10)
    ]
    next_one = await edge.code(token=token("ww1"))

    assert (refused, next_one) == ([status] * 10, "RESOURCE_EXHAUSTED")


async def test_a_method_that_needs_no_token_counts_for_the_address_whatever_the_token_says(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    replica = make_replica()
    edge = await start_edge(
        replica,
        ready=2,
        # Without its agent, which speaks for messaging.
        edge_identity=f"{replica.host}:{replica.port}",
        edge_corp_calls_per_minute=5,
        edge_address_calls_per_minute=10,
    )
    sign_in = next(each.path for each in list_methods(["identity"]) if each.is_anonymous)

    codes = [await edge.code(sign_in, token=token("ww1", f"user{n}")) for n in range(12)]

    assert codes == ["OK"] * 10 + ["RESOURCE_EXHAUSTED"] * 2


@pytest.mark.parametrize("first", ["Bearer " + token("ww2"), ""], ids=["another", "empty"])
async def test_a_call_with_two_authorizations_is_malformed_and_counts_for_nobody(
    first: str, make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    """Limits would be charged to whoever the first one names, and the last one be served."""
    edge = await start_edge(make_replica(), edge_corp_calls_per_minute=5)
    two = (("authorization", first), ("authorization", "Bearer " + token("ww1")))

    doubled = [await edge.code(metadata=two) for _ in range(8)]
    named_first = [await edge.code(token=token("ww2")) for _ in range(5)]

    assert doubled == ["INVALID_ARGUMENT"] * 8
    assert named_first == ["OK"] * 5


async def test_a_user_over_the_limit_leaves_the_corps_others_alone(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    edge = await start_edge(make_replica(), edge_user_calls_per_minute=10)

    loud = [await edge.code(token=token("ww1", "a")) for _ in range(12)]
    colleague = await edge.code(token=token("ww1", "b"))

    assert loud == ["OK"] * 10 + ["RESOURCE_EXHAUSTED"] * 2
    assert colleague == "OK"


async def test_callers_without_a_token_are_limited_by_address(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    edge = await start_edge(make_replica(), edge_address_calls_per_minute=10)

    anonymous = [await edge.code(token="no.jwt") for _ in range(12)]
    signed_in = await edge.code(token=token("ww1"))

    assert anonymous == ["OK"] * 10 + ["RESOURCE_EXHAUSTED"] * 2
    assert signed_in == "OK"


async def test_callers_without_a_token_have_an_hours_limit_as_well(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    edge = await start_edge(make_replica(), edge_address_calls_per_hour=10)

    anonymous = [await edge.code() for _ in range(12)]
    other_method = await edge.code("SendMessage")
    signed_in = [await edge.code(token=token("ww1")) for _ in range(12)]

    assert anonymous == ["OK"] * 10 + ["RESOURCE_EXHAUSTED"] * 2
    assert (other_method, set(signed_in)) == ("OK", {"OK"})


async def test_an_address_has_a_limit_over_all_methods_and_everybody_at_it(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    edge = await start_edge(make_replica(), edge_address_all_calls_per_minute=10)

    calls = [("ListMessages", token("ww1")), ("SendMessage", token("ww2")), ("GetConversation", "")]
    codes = [await edge.code(method, token=of) for method, of in calls * 4]

    assert codes == ["OK"] * 10 + ["RESOURCE_EXHAUSTED"] * 2


async def test_an_address_begins_so_many_requests_and_no_more_answered_or_not(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    port = find_free_port()
    edge = await start_edge(
        make_replica(),
        edge_requests_per_address=10,
        edge_request_timeout_s=30,
        edge_metrics_port=port,
    )
    head = {"content-type": "application/grpc", "te": "trailers"}
    heads = [
        asyncio.create_task(
            request(
                edge.settings.edge_port, f"{SERVICE}/ListMessages", headers=head, is_ended=False
            )
        )
        for _ in range(8)
    ]
    await eventually(lambda: has_begun(edge, 8))

    codes = [await edge.code() for _ in range(5)]

    assert codes == ["OK"] * 2 + ["RESOURCE_EXHAUSTED"] * 3
    page = await read_page(port, "/metrics")
    assert 'haproxy_frontend_requests_denied_total{proxy="edge"} 3' in page
    for each in heads:
        each.cancel()


async def test_a_corp_has_an_hours_limit_as_well(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    edge = await start_edge(make_replica(), edge_corp_calls_per_hour=10)

    loud = [await edge.code(token=token("ww1", f"user{n}")) for n in range(12)]
    other_corp = await edge.code(token=token("ww2"))
    other_method = await edge.code("SendMessage", token=token("ww1"))

    assert loud == ["OK"] * 10 + ["RESOURCE_EXHAUSTED"] * 2
    assert (other_corp, other_method) == ("OK", "OK")


async def test_an_address_has_so_many_connections_and_no_more(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    edge = await start_edge(make_replica(), edge_connections_per_address=3)
    await edge.call()
    channels = [open_channel(edge.settings) for _ in range(3)]

    codes = [await edge.code(channel=channel) for channel in channels]

    assert codes == ["OK", "OK", "UNAVAILABLE"]
    for channel in channels:
        await channel.close()
