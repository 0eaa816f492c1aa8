"""The commands' error: one line for a person, exit status 1."""

import errno


class CommandError(Exception):
    """An expected failure of a command; the text names the thing and what to do."""


def describe_os_error(error: OSError, *, place: object = "the operating system") -> str:
    """Say in one line what the system refused, and what helps.

    ``place`` is named where the error has no file of its own, as of a write.
    """
    name = place if error.filename is None else error.filename
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{name}: the disk is full; free some space or give another --data directory"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return (
            f"{name}: not allowed ({error.strerror}); make it writable for this user or give "
            "another --data directory"
        )
    return f"{name}: {error.strerror or error}"
