"""Become another program that receives a signal when the process that started it dies.

    python -I -S die_with_parent.py SIGNAL PARENT_PID PROGRAM [ARGUMENT ...]

A script of its own instead of Popen's ``preexec_fn``: that runs Python between fork and exec, which
can deadlock when the parent has threads (gRPC has). Imports only what the bare interpreter brings,
to start in some ten milliseconds, and nothing of tieline.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Ask the kernel for the signal, then become the program."""
    signal_number, parent_pid, *command = arguments
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0)
    # The parent may have died before the request: then there is no signal to come.
    if os.getppid() != int(parent_pid):
        sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606 -- becoming the caller's program is the purpose


if __name__ == "__main__":
    main(sys.argv[1:])
