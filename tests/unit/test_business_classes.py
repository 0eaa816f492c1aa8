"""Every method of every service says how much it matters."""

import importlib
import pkgutil
from collections.abc import Iterator

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor

from tieline.api.common.v1 import priority_pb2
from tieline.chassis.admission.priorities import BusinessClass
from tieline.chassis.interceptors.business_classes import build_class_table
from tieline.chassis.process import StartError
from tieline.chassis.streams import SERVICES


def _services() -> Iterator[ServiceDescriptor]:
    for service in SERVICES:
        package = importlib.import_module(f"tieline.api.{service}.v1")
        for module in pkgutil.iter_modules(package.__path__):
            if module.name.endswith("_service_pb2"):
                proto = importlib.import_module(f"{package.__name__}.{module.name}")
                yield from proto.DESCRIPTOR.services_by_name.values()


@pytest.mark.parametrize("service", list(_services()), ids=lambda service: service.name)
def test_every_method_has_a_class(service: ServiceDescriptor) -> None:
    assert len(build_class_table(service)) == len(service.methods)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("IdentityService/SignInMember", BusinessClass.CRITICAL),
        ("PaymentsService/OpenRedPacket", BusinessClass.CRITICAL),
        ("MessagingService/SendMessage", BusinessClass.HIGH),
        ("DirectoryService/GetMember", BusinessClass.NORMAL),
        ("DirectoryService/SearchMembers", BusinessClass.LOW),
        ("ImportService/CreateImportJob", BusinessClass.LOW),
    ],
)
def test_what_people_wait_for_comes_first(method: str, expected: BusinessClass) -> None:
    table = {
        path.rpartition(".")[2]: value
        for service in _services()
        for path, value in build_class_table(service).items()
    }
    assert table[method] is expected


def test_a_method_without_a_class_stops_the_start_and_is_named() -> None:
    described = descriptor_pb2.FileDescriptorProto(
        name="unclassed.proto",
        package="tieline.test",
    )
    described.message_type.add(name="Empty")
    empty = ".tieline.test.Empty"
    service = described.service.add(name="UnclassedService")
    service.method.add(name="Forgotten", input_type=empty, output_type=empty)
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(described.SerializeToString())
    found = pool.FindServiceByName("tieline.test.UnclassedService")

    with pytest.raises(StartError, match=r"tieline\.test\.UnclassedService\.Forgotten"):
        build_class_table(found)


def test_the_classes_of_proto_and_program_are_the_same() -> None:
    names = {
        name.removeprefix("BUSINESS_CLASS_"): number
        for name, number in priority_pb2.BusinessClass.items()
        if number
    }
    assert names == {member.name: member.value for member in BusinessClass}
