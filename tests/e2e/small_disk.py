"""A file system of a few megabytes that can be filled, and PostgreSQL with its data on it."""

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engines import ROLE_PASSWORD
from tieline.embedded.child import dying_with_parent
from tieline.embedded.ports import find_free_port
from tieline.embedded.postgres import EmbeddedPostgres

# Only who lives in the holder's namespaces sees the file system; it ends with the holder.
_HOLD = 'mount -t tmpfs -o size={size} tmpfs "$0" && echo mounted && exec sleep infinity'
_NAMESPACES = ("--user", "--mount")

_BLOCK = bytes(64 * 1024)


def fill(file: Path) -> None:
    """Take all the room that is left."""
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as target:
        while target.write(_BLOCK):
            pass


class SmallDisk:
    """A mounted file system."""

    def __init__(self, folder: Path, holder_id: int) -> None:
        self.folder = folder
        """Where its inhabitants see it."""

        self.entering = ["nsenter", f"--target={holder_id}", *_NAMESPACES]
        """Stands before the commands that are to see it."""

        self._filler = Path(f"/proc/{holder_id}/root{folder}") / "filler"

    def fill(self) -> None:
        """Take all the room that is left."""
        fill(self._filler)

    def free(self) -> None:
        """Give the room back."""
        self._filler.unlink()


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[SmallDisk]:
    """Mount a file system of this size on a new folder until the block is left."""
    folder.mkdir()
    script = ["bash", "-c", _HOLD.format(size=size), str(folder)]
    holding = dying_with_parent(script, signal.SIGKILL)
    command = ["unshare", *_NAMESPACES, "--map-root-user", *holding]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None, "it is piped"
        try:
            assert holder.stdout.readline() == "mounted\n"
            yield SmallDisk(folder, holder.pid)
        finally:
            holder.kill()


class PostgresOnSmallDisk(EmbeddedPostgres):
    """PostgreSQL whose data were made elsewhere and moved to the disk."""

    def __init__(self, disk: SmallDisk) -> None:
        super().__init__(
            disk.folder.with_name("made"),
            find_free_port(),
            superuser_password=ROLE_PASSWORD,
            settings={"fsync": "off"},
        )
        self._disk = disk
        self._data = disk.folder / "data"

    def initialise(self) -> None:
        """Create the data, unless they are there."""
        is_new = not self.directory.exists()
        super().initialise()
        if is_new:
            copying = ["cp", "--archive", str(self.directory), str(self._data)]
            subprocess.run([*self._disk.entering, *copying], check=True)

    def command(self) -> list[str]:
        """Return the argv of the server, which sees the disk and is not root there."""
        as_nobody = ["unshare", "--user", "--map-user=65534", "--map-group=65534"]
        data = [each.replace(str(self.directory), str(self._data)) for each in super().command()]
        return [*self._disk.entering, *as_nobody, *data]
