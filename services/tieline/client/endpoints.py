"""Where the services are: one address each, read from a file or given by hand."""

import json
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

# Names under which nobody but this machine can be reached.
_LOOPBACK = re.compile(
    r"(?:dns:///|ipv4:)?(?:localhost|127(?:\.\d{1,3}){3}|\[::1\]):\d+|unix(?:-abstract)?:.+"
)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """A gRPC target for each service: ``host:port``, ``dns:///host:port`` or ``unix:path``."""

    identity: str
    directory: str
    messaging: str
    contacts: str
    payments: str

    @classmethod
    def single(cls, target: str) -> Self:
        """Return endpoints of a platform whose services share one address, such as the edge's."""
        return cls(**{field.name: target for field in fields(cls)})

    @classmethod
    def from_target(cls, target: str) -> Self:
        """As `single`; ``{service}`` in the target stands for each service's name, if it is there.

        So ``dns:///tieline-{service}:7100`` reaches the headless Services of a cluster.
        """
        names = [field.name for field in fields(cls)]
        return cls(**{name: target.replace("{service}", name) for name in names})

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """Read the file that ``tieline up`` keeps in its data directory, ``endpoints.json``.

        Raises ``OSError`` where there is no such file, and ``ValueError`` naming the service where
        it has no address for one.
        """
        try:
            services = json.loads(Path(path).read_bytes())["services"]
            return cls(**{field.name: str(services[field.name]) for field in fields(cls)})
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} has no address of the service {error}") from error


def is_loopback(target: str) -> bool:
    """Tell whether a target stays on this machine, where nobody listens in."""
    return _LOOPBACK.fullmatch(target) is not None
