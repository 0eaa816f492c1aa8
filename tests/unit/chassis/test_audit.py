import pytest

from tieline.chassis.audit import read_address


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:192.0.2.7:4711", "192.0.2.7"),
        ("ipv6:%5B2001:db8::1%5D:4711", "2001:db8::1"),
        ("ipv6:[::1]:4711", "::1"),
        ("unix:/run/edge.sock", "unix:/run/edge.sock"),
        ("", ""),
    ],
)
def test_the_address_is_without_family_and_port(peer: str, address: str) -> None:
    assert read_address(peer) == address
