"""Loopback ports: is one free, and find one that is."""

import os
import random
import socket
from collections import deque

LOOPBACK = "127.0.0.1"

# Below those that a system gives to outgoing connections (Linux from 32,768 on, others from 49,152
# on by default): one of these may be taken by anybody's call before a server has opened it.
_PORTS = range(20_000, 32_768)
_MAX_TRIES = 1000

# Nobody's seed makes it repeat itself.
_CHANCE = random.SystemRandom()

# The file descriptors that hold the ports that this process found last, until long after their
# servers have opened them.
_promised: deque[int] = deque()
_MAX_PROMISED = 64


def is_port_free(port: int) -> bool:
    """Tell whether a server could listen on the port now, which none can while this is asked."""
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
    """Return a port that nothing listens on and that no other caller on this machine was given.

    Outgoing connections do not take it either. Raises OSError where hardly one is left.
    """
    for _ in range(_MAX_TRIES):
        port = _CHANCE.choice(_PORTS)
        # To look is to listen for a moment: whoever was given the port could not open it then.
        if promise_port(port) and is_port_free(port):
            return port
    raise OSError(f"of the ports {_PORTS.start} to {_PORTS.stop - 1} hardly one is free")


def promise_port(port: int) -> bool:
    """Have no other caller be given the port; False if one has it already."""
    # An abstract name is one process's at a time within a network namespace, and ends with it.
    promise = socket.socket(socket.AF_UNIX)
    try:
        promise.bind(f"\0tieline-port-{port}")
    except OSError:
        promise.close()
        return False
    _promised.append(promise.detach())
    if len(_promised) > _MAX_PROMISED:
        os.close(_promised.popleft())
    return True
