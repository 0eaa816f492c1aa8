"""Every service of the API has a stub in the client library."""

import importlib
import pkgutil
import typing
from collections.abc import Iterator
from functools import cached_property

from tieline.chassis.streams import SERVICES
from tieline.client.stubs import Stubs


def _generated() -> Iterator[type]:
    for service in SERVICES:
        package = importlib.import_module(f"tieline.api.{service}.v1")
        for module in pkgutil.iter_modules(package.__path__):
            if module.name.endswith("_service_pb2_grpc"):
                generated = vars(importlib.import_module(f"{package.__name__}.{module.name}"))
                yield from (each for name, each in generated.items() if name.endswith("Stub"))


def test_every_service_has_a_stub() -> None:
    offered = [
        typing.get_type_hints(each.func)["return"]
        for each in vars(Stubs).values()
        if isinstance(each, cached_property)
    ]

    assert sorted(each.__name__ for each in offered) == sorted(
        each.__name__ for each in _generated()
    )
