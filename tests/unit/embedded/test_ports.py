"""Whether a port is free."""

import socket

from tieline.embedded.ports import find_free_port, is_port_free


def test_port_with_a_listener_is_not_free_until_the_listener_is_gone() -> None:
    port = find_free_port()
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()

        assert not is_port_free(port)

    assert is_port_free(port)


def test_port_that_is_shared_by_its_listeners_is_not_free() -> None:
    port = find_free_port()
    with socket.socket() as listener:
        # As gRPC opens its ports.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()

        assert not is_port_free(port)
