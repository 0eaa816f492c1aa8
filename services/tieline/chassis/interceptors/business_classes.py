"""The class of each method: the proto option ``business_class``, read at start."""

from collections.abc import Mapping

from google.protobuf.descriptor import ServiceDescriptor

from tieline.api.common.v1 import priority_pb2
from tieline.chassis.admission.priorities import BusinessClass
from tieline.chassis.process import StartError


def build_class_table(service: ServiceDescriptor) -> Mapping[str, BusinessClass]:
    """Return the class of each of the service's methods by its path, ``/package.Service/Method``.

    Raises StartError that names the methods without one: what nobody has classed would be refused
    first or last by accident.
    """
    table = {}
    undeclared = []
    for method in service.methods:
        value = method.GetOptions().Extensions[priority_pb2.business_class]
        if value == priority_pb2.BUSINESS_CLASS_UNSPECIFIED:
            undeclared.append(method.full_name)
        else:
            table[f"/{service.full_name}/{method.name}"] = BusinessClass(value)
    if undeclared:
        raise StartError(
            f"{', '.join(undeclared)}: give the method an option "
            "(tieline.api.common.v1.business_class)"
        )
    return table
