"""Loopback ports: is one free, and find one that is."""

import socket

LOOPBACK = "127.0.0.1"


def is_port_free(port: int) -> bool:
    """Tell whether a server could listen on the port now."""
    with socket.socket() as probe:
        # As every server here does: a port whose last connections linger in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            # A listener with SO_REUSEADDR of its own lets us bind, but not listen.
            probe.listen(1)
        except OSError:
            return False
        return True


def find_free_port() -> int:
    """Return a port that nothing listens on; the system does not give it to another caller soon."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
