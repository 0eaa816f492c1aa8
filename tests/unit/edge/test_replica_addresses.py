import pytest

from tieline.edge.replicas import (
    Address,
    AddressError,
    Replicas,
    parse_name_servers,
    parse_replicas,
)


@pytest.mark.parametrize(
    ("text", "replicas"),
    [
        pytest.param("", Replicas(()), id="none"),
        pytest.param("10.0.0.7:1", Replicas((Address("10.0.0.7", 1, None),)), id="lowest port"),
        pytest.param(
            "a:7103@7903, [::1]:65535",
            Replicas((Address("a", 7103, 7903), Address("[::1]", 65535, None))),
            id="agent and IPv6",
        ),
        pytest.param(
            "dns:tieline-messaging.prod.svc:7103@7900",
            Replicas((Address("tieline-messaging.prod.svc", 7103, 7900),), is_name=True),
            id="name",
        ),
    ],
)
def test_addresses_are_read(text: str, replicas: Replicas) -> None:
    assert parse_replicas(text) == replicas


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("10.0.0.7", id="no port"),
        pytest.param("10.0.0.7:0", id="port 0"),
        pytest.param("10.0.0.7:65536", id="port too high"),
        pytest.param("10.0.0.7:7103@65536", id="agent's port too high"),
        pytest.param("a:1,a:1", id="twice"),
        pytest.param("a b:7103", id="a space would begin another word of the configuration"),
        pytest.param("a:7103\nfrontend x", id="a line break would begin another line"),
        pytest.param("dns:", id="no name"),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(AddressError):
        parse_replicas(text)


def test_name_servers_are_read() -> None:
    assert parse_name_servers("") == []
    assert parse_name_servers("10.96.0.10:53, [fd00::a]:53") == ["10.96.0.10:53", "[fd00::a]:53"]


@pytest.mark.parametrize("text", ["10.96.0.10", "dns.example:53", "10.0.0.1:53@1", "10.0.0.1:53 x"])
def test_what_is_no_name_server_is_refused_by_the_settings_name(text: str) -> None:
    with pytest.raises(AddressError, match="TIELINE_EDGE_NAME_SERVERS"):
        parse_name_servers(text)
