"""The image as its Dockerfile makes it, put together by hand where no builder and no registry is.

The base is this machine: its /usr and the Python that runs the tests. What the Dockerfile adds to
it is made by the same commands, except that the locked dependencies are copied from the environment
of the tests, which has them in the same versions, instead of fetched.
"""

import importlib.metadata
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[3]
HOME = Path("/opt/tieline")
# As the Dockerfile's USER has it.
USER_ID = "65532"

PREFIX = Path(sys.base_prefix)
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-cache-dir")

# Everything happens in namespaces of their own, so that this machine's /opt is left as it is.
_NAMESPACES = ("unshare", "--user", "--map-root-user", "--mount")
_AS_HOME = 'mount -t tmpfs tmpfs /opt && mkdir {home} && mount --bind "$0" {home} && exec "$@"'

# $0 is the environment, $1 the folder that becomes the root, $2 the prefix of Python. Nothing but
# /tmp can be written to.
_ENTER = """
set -eu
root=$1 prefix=$2; shift 2
mount -t tmpfs tmpfs "$root"
bind() {{ mount --rbind "$1" "$root$1"; }}
for folder in /usr /etc /proc "$prefix" ; do mkdir -p "$root$folder"; bind "$folder"; done
for name in bin sbin lib lib64; do [ -e /$name ] && cp -P /$name "$root/" || true; done
mkdir -p "$root/dev" "$root/tmp" "$root{home}"
for file in null zero urandom; do touch "$root/dev/$file"; bind /dev/$file; done
mount --bind "$0" "$root{home}"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
for folder in /usr /etc "$prefix" {home}; do mount -o remount,bind,ro "$root$folder"; done
mount -o remount,ro "$root"
exec unshare --user --map-user={user} --map-group={user} --root="$root" --wd=/tmp "$@"
"""


def may_make_namespaces() -> bool:
    """Tell whether the kernel lets us assemble it."""
    command = [*_NAMESPACES, "mount", "-t", "tmpfs", "tmpfs", "/opt"]
    return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0


def assemble(folder: Path) -> Path:
    """Make the image's own layer in the folder; return it."""
    home = folder / "home"
    home.mkdir()
    _run(home, [str(PREFIX / "bin" / "python3"), "-m", "venv", "--without-pip", str(HOME)])
    (packages,) = home.glob("lib/python3*/site-packages")
    for name in locked_names():
        _copy_distribution(name, packages)
    sources = folder / "sources"
    _copy_context(sources)
    dist = folder / "dist"
    wheel = [
        *PIP,
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(dist),
    ]
    subprocess.run([*wheel, str(sources)], check=True)
    (built,) = dist.glob("*.whl")
    python = str(HOME / "bin" / "python")
    _run(
        home,
        [*PIP, "--python", python, "install", "--quiet", "--no-deps", "--no-index", str(built)],
    )
    return home


def entering(home: Path, root: Path) -> list[str]:
    """Return what stands before a command that is to run in the image; ``root`` is empty."""
    script = _ENTER.format(home=HOME, user=USER_ID)
    return [*_NAMESPACES, "bash", "-c", script, str(home), str(root), str(PREFIX)]


def locked_names() -> list[str]:
    """Return the names that the image's lock has for this system."""
    text = (ROOT / "requirements-image.lock").read_text(encoding="utf-8")
    return re.findall(r"^([a-z0-9._-]+)==", text, re.MULTILINE)


def _run(home: Path, command: Sequence[str]) -> None:
    script = _AS_HOME.format(home=HOME)
    subprocess.run([*_NAMESPACES, "bash", "-c", script, str(home), *command], check=True)


def _copy_distribution(name: str, packages: Path) -> None:
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        # For another system or another version of Python.
        return
    for file in distribution.files or ():
        if ".." not in file.parts:
            target = packages / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(str(distribution.locate_file(file)), target)


def _copy_context(sources: Path) -> None:
    """Copy what .dockerignore lets a builder see."""
    sources.mkdir()
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for name in (line.removeprefix("!") for line in lines if line.startswith("!")):
        original = ROOT / name
        if original.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(original, sources / name, ignore=ignored)
        else:
            shutil.copy2(original, sources / name)
