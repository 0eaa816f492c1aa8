"""What the edge must know of each RPC: whose it is, how much it matters, how long it stays open,
whether it needs a token.

Read from the protos' descriptors. Pure, except that it imports the generated modules.
"""

import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType

from google.protobuf.descriptor import MethodDescriptor

from tieline.api.common.v1 import access_pb2, priority_pb2


@dataclass(frozen=True, slots=True)
class EdgeMethod:
    """One RPC as the edge sees it."""

    path: str
    """``/package.Service/Method``, the path of its requests."""

    service: str
    """The service that answers, such as ``messaging``."""

    business_class: int
    """1 (CRITICAL) to 4 (LOW)."""

    is_stream: bool
    """Whether either side sends a stream."""

    is_anonymous: bool
    """Whether it may be called without a token, which then is not looked at."""


def list_methods(services: Sequence[str]) -> list[EdgeMethod]:
    """Return every RPC of these services in a fixed order."""
    return sorted(
        (
            _read_method(service, method)
            for service in services
            for module in _service_modules(service)
            for descriptor in module.DESCRIPTOR.services_by_name.values()
            for method in descriptor.methods
        ),
        key=lambda method: method.path,
    )


def _service_modules(service: str) -> Iterator[ModuleType]:
    package = importlib.import_module(f"tieline.api.{service}.v1")
    for entry in pkgutil.iter_modules(package.__path__):
        if entry.name.endswith("_service_pb2"):
            yield importlib.import_module(f"{package.__name__}.{entry.name}")


def _read_method(service: str, method: MethodDescriptor) -> EdgeMethod:
    owner = method.containing_service.full_name
    business_class = method.GetOptions().Extensions[priority_pb2.business_class]
    assert business_class, f"{owner}.{method.name} has no business class"
    return EdgeMethod(
        path=f"/{owner}/{method.name}",
        service=service,
        business_class=business_class,
        is_stream=bool(method.client_streaming or method.server_streaming),
        is_anonymous=method.GetOptions().Extensions[access_pb2.access].anonymous,
    )
