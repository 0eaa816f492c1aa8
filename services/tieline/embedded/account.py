"""Which account PostgreSQL runs under: it refuses to run as root.

    we are                   data belong to   PostgreSQL runs
    an ordinary user         us               as we are
    root                     nobody yet,      in a user namespace where root is called 65534: the
                             or root          files stay root's, nothing is changed on the disk
    root, no namespaces      nobody yet       as 65534, which owns the new data and may pass other
    (a container)            or 65534         users' folders
    root                     another user     as that user, with that user's rights alone: the
                                              data's configuration can run programs

Every wrapper ends in exec, so that the process id is PostgreSQL's own and signals reach it.
"""

import functools
import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tieline.embedded.errors import EngineError

ROOT = 0
# "nobody". initdb wants an account with a name.
UNPRIVILEGED_ID = 65534
PROBE_TIMEOUT_S = 10.0


def account_prefix(directory: Path) -> list[str]:
    """Return what stands before a command that works on this directory as a non-root user."""
    if os.geteuid() != ROOT:
        return []
    status = directory.stat()
    if status.st_uid == UNPRIVILEGED_ID:
        return _as_nobody()
    if status.st_uid != ROOT:
        return _as_user(status.st_uid, directory)
    namespace = _in_user_namespace()
    if _works(tuple(namespace), directory):
        return namespace
    raise EngineError(
        f"PostgreSQL refuses to run as root, and {directory} is root's while this machine allows "
        "no user namespaces; run as an ordinary user or give a new --data directory"
    )


def prepare_owner(directory: Path) -> None:
    """Give a new, empty directory to the account that PostgreSQL will run under."""
    if os.geteuid() != ROOT or _works(tuple(_in_user_namespace()), directory):
        return
    if not _works(tuple(_as_nobody()), directory):
        raise EngineError(
            "PostgreSQL refuses to run as root, and neither `unshare --user` nor `setpriv` works "
            "here; run as an ordinary user"
        )
    os.chown(directory, UNPRIVILEGED_ID, UNPRIVILEGED_ID)


def _in_user_namespace() -> list[str]:
    return ["unshare", "--user", f"--map-user={UNPRIVILEGED_ID}", f"--map-group={UNPRIVILEGED_ID}"]


def _as_user(user_id: int, directory: Path) -> list[str]:
    try:
        group_id = pwd.getpwuid(user_id).pw_gid
    except KeyError:
        # Not the folder's group: that may be root's.
        group_id = UNPRIVILEGED_ID
    prefix = ["setpriv", f"--reuid={user_id}", f"--regid={group_id}", "--clear-groups"]
    if _works(tuple(prefix), directory):
        return prefix
    raise EngineError(
        f"{directory} belongs to user {user_id}, whom `setpriv` can't run as here or who can't "
        "reach it; run as that user or give another --data directory"
    )


def _as_nobody() -> list[str]:
    # dac_override lets it reach binaries and data below folders that are closed to others, such as
    # /root. no_setuid_fixup keeps the capability over the change of user.
    return [
        *("setpriv", f"--reuid={UNPRIVILEGED_ID}", f"--regid={UNPRIVILEGED_ID}"),
        *("--clear-groups", "--inh-caps=+dac_override", "--ambient-caps=+dac_override"),
        "--securebits=+no_setuid_fixup",
    ]


@functools.cache
def _works(prefix: Sequence[str], directory: Path) -> bool:
    """Tell whether the wrapper is allowed here, and its account may write the directory."""
    if shutil.which(prefix[0]) is None:
        return False
    probe = subprocess.run(  # noqa: S603 -- the command is ours
        [*prefix, "test", "-w", str(directory)],
        capture_output=True,
        check=False,
        timeout=PROBE_TIMEOUT_S,
    )
    return probe.returncode == 0
