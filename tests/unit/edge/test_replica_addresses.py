import pytest

from tieline.edge.replicas import Address, AddressError, Replicas, parse_replicas


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
