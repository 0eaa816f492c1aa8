"""From where a call comes, as far as that can be trusted."""

import pytest

from tieline.chassis.addresses import (
    find_client_address,
    group_address,
    read_address,
    read_networks,
)

PROXIES = read_networks("10.0.0.0/8, fd00::/8")


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "expected"),
    [
        pytest.param("198.51.100.7", "", "198.51.100.7", id="no proxy"),
        pytest.param("198.51.100.7", "192.0.2.1", "198.51.100.7", id="made up by a stranger"),
        pytest.param("10.1.2.3", "192.0.2.1", "192.0.2.1", id="a proxy's word"),
        pytest.param("10.1.2.3", "", "10.1.2.3", id="a proxy that says nothing"),
        pytest.param("10.1.2.3", "203.0.113.9, 192.0.2.1", "192.0.2.1", id="begun by the caller"),
        pytest.param("10.1.2.3", "192.0.2.1, 10.9.9.9", "192.0.2.1", id="two proxies"),
        pytest.param("10.1.2.3", "192.0.2.1, 10.9.9.9, x", "10.1.2.3", id="no address"),
        pytest.param("fd00::1", "2001:db8::7", "2001:db8::7", id="IPv6"),
        pytest.param("unix:/run/x", "192.0.2.1", "unix:/run/x", id="a socket"),
    ],
)
def test_the_last_address_that_is_no_trusted_proxys_is_the_callers(
    peer: str, forwarded_for: str, expected: str
) -> None:
    assert find_client_address(peer, forwarded_for, PROXIES) == expected


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("unix:/run/x", "unix:/run/x"),
        ("", ""),
    ],
)
def test_an_ipv6_household_is_one_party(address: str, group: str) -> None:
    assert group_address(address) == group


def test_what_is_no_network_is_named() -> None:
    assert read_networks("") == ()
    with pytest.raises(ValueError, match="ten"):
        read_networks("10.0.0.0/8,ten")


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
