"""The rendered files as texts; that HAProxy takes each variant is tested with HAProxy."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from tieline.chassis.streams import SERVICES
from tieline.edge.backends import ROOM_SHARES, build_backends
from tieline.edge.configuration import render
from tieline.edge.methods import list_methods
from tieline.edge.refusals import OVERLOADED, TOO_LARGE
from tieline.edge.settings import EdgeSettings

DIRECTORY = Path("/run/tieline-edge")


def rendered(**settings: object) -> str:
    chosen = EdgeSettings(**{"edge_messaging": "10.0.0.7:7103", **settings})  # type: ignore[arg-type]
    return render(chosen, list_methods(SERVICES), DIRECTORY)["haproxy.cfg"]


def test_a_method_goes_to_the_backend_of_its_service_with_its_class_and_room() -> None:
    settings = EdgeSettings(edge_messaging="a:1", edge_queue_length=64)
    files = render(settings, list_methods(SERVICES), DIRECTORY)
    entries = dict(line.split() for line in files["methods.map"].splitlines())

    send = entries["/tieline.api.messaging.v1.MessagingService/SendMessage"]
    assert send.startswith("messaging_calls:messaging:2:56:")
    subscribe = entries["/tieline.api.messaging.v1.MessagingService/Subscribe"]
    assert subscribe.startswith("messaging_long:messaging:")
    assert not any("payments" in path for path in entries)
    assert send.endswith(":signed_in")
    numbers = [entry.split(":")[4] for entry in entries.values()]
    assert len(set(numbers)) == len(numbers)


def test_the_more_important_class_always_has_more_room() -> None:
    shares = [ROOM_SHARES[number] for number in (1, 2, 3, 4)]
    assert shares == sorted(shares, reverse=True)
    (calls, _, _) = build_backends(EdgeSettings(edge_messaging="a:1", edge_queue_length=4))
    assert calls.rooms == {1: 4, 2: 3, 3: 2, 4: 1}


@pytest.mark.parametrize(
    ("setting", "rule"),
    [
        ("edge_corp_calls_per_minute", "limited_corp if"),
        ("edge_corp_calls_per_hour", "limited_corp_hour if"),
        ("edge_user_calls_per_minute", "limited_user if"),
        ("edge_address_calls_per_minute", "limited_anonymous if"),
        ("edge_address_calls_per_hour", "limited_anonymous_hour if"),
        ("edge_address_all_calls_per_minute", "limited_address if"),
        ("edge_address_failures_per_hour", "limited_failures if"),
    ],
)
def test_a_limit_of_zero_is_no_limit(setting: str, rule: str) -> None:
    assert rule in rendered()
    assert rule not in rendered(**{setting: 0})


def test_limits_have_the_open_apis_figures_unless_something_else_is_set() -> None:
    text = rendered()
    assert "limited_corp if { sc1_gpc0_rate ge 10000 }" in text
    assert "limited_corp_hour if { sc1_gpc1_rate ge 150000 }" in text
    anonymous = "if !{ var(txn.user_key) -m found }"
    assert f"limited_anonymous {anonymous} {{ sc2_gpc0_rate ge 20000 }}" in text
    assert f"limited_anonymous_hour {anonymous} {{ sc2_gpc1_rate ge 600000 }}" in text
    assert "limited_address if { sc0_gpc1_rate ge 40000 }" in text
    assert "limited_failures if { sc0_gpc0_rate ge 2000 }" in text
    # Ours: the open API has none for a user.
    assert "limited_user if { var(txn.user_key) -m found } { sc2_gpc0_rate ge 1000 }" in text


def test_a_name_gives_places_for_its_replicas() -> None:
    text = rendered(edge_messaging="dns:tieline-messaging:7103@7900", edge_max_replicas=9)
    assert "server-template replica 9 tieline-messaging:7103 agent-check agent-port 7900" in text


def test_tls_asks_for_certificates_of_clients_only_where_wanted() -> None:
    assert "proto h2" in rendered()
    assert "ssl crt /c.pem alpn h2" in rendered(edge_tls_certificate="/c.pem")
    assert "verify" not in rendered(edge_tls_certificate="/c.pem")
    wanted = rendered(
        edge_tls_certificate="/c.pem",
        edge_tls_client_ca="/ca.pem",
        edge_tls_client_certificates="required",
    )
    assert "ca-file /ca.pem verify required" in wanted


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="no replicas at all"),
        pytest.param(
            {"edge_messaging": "a:1", "edge_tls_client_certificates": "optional"},
            id="client certificates without authorities",
        ),
        pytest.param({"edge_messaging": "a:1", "edge_queue_length": 3}, id="a class without room"),
    ],
)
def test_settings_that_make_no_edge_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        EdgeSettings(**settings)  # type: ignore[arg-type]


def test_a_refusal_says_when_to_come_back_only_where_that_helps() -> None:
    assert 'grpc-retry-pushback-ms "%[rand(1000),add(500)]"' in OVERLOADED.headers()
    assert "grpc-status 8" in OVERLOADED.headers()
    assert "pushback" not in TOO_LARGE.headers()
