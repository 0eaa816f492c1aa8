"""Who may call a method: the proto option ``tieline.api.common.v1.access``, read at start."""

from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from tieline.api.common.v1 import access_pb2, principal_pb2
from tieline.chassis.authorization import Right, holds
from tieline.chassis.errors import PermissionDeniedError
from tieline.chassis.principals import Principal, PrincipalKind
from tieline.chassis.process import StartError

# Probes and tools call these signed in nowhere, and they must answer while a dependency is away:
# the interceptor leaves them alone.
UNGUARDED_SERVICES = frozenset(
    {
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }
)

_KINDS = {
    principal_pb2.PRINCIPAL_KIND_PLATFORM_ADMINISTRATOR: PrincipalKind.PLATFORM_ADMINISTRATOR,
    principal_pb2.PRINCIPAL_KIND_MEMBER: PrincipalKind.MEMBER,
    principal_pb2.PRINCIPAL_KIND_CUSTOMER: PrincipalKind.CUSTOMER,
    principal_pb2.PRINCIPAL_KIND_APP: PrincipalKind.APP,
    principal_pb2.PRINCIPAL_KIND_LINKED_APP: PrincipalKind.LINKED_APP,
}


@dataclass(frozen=True, slots=True)
class AccessRule:
    """Who may call one method."""

    anonymous: bool = False
    kinds: frozenset[PrincipalKind] = frozenset()
    corp_administrator: bool = False
    """Whether a member must also administer the corp; says nothing about the other kinds."""

    right: Right | None = None
    """The right that the caller must hold somewhere; None if none is needed."""

    def check(self, principal: Principal, method: str) -> None:
        """Raise PermissionDeniedError for a caller who may not call the method.

        An anonymous method asks for no caller and is not checked.
        """
        if (
            principal.kind not in self.kinds
            or (
                self.corp_administrator
                and principal.kind is PrincipalKind.MEMBER
                and not principal.is_corp_administrator
            )
            or (self.right is not None and not holds(principal, self.right))
        ):
            raise PermissionDeniedError(
                "CALLER_NOT_ALLOWED", "the caller may not call this method", {"method": method}
            )


def build_access_table(service: ServiceDescriptor) -> Mapping[str, AccessRule]:
    """Return the rule of each of the service's methods by its path, ``/package.Service/Method``.

    Raises StartError that names the methods which do not say who may call them: forgetting the
    option must never open a method.
    """
    table = {}
    undeclared = []
    for method in service.methods:
        rule = _read_rule(method)
        if rule is None:
            undeclared.append(method.full_name)
        else:
            table[f"/{service.full_name}/{method.name}"] = rule
    if undeclared:
        raise StartError(
            f"{', '.join(undeclared)}: give the method an option (tieline.api.common.v1.access) "
            "with anonymous or kinds"
        )
    return table


def _read_rule(method: MethodDescriptor) -> AccessRule | None:
    options = method.GetOptions()
    if not options.HasExtension(access_pb2.access):
        return None
    access = options.Extensions[access_pb2.access]
    if not access.anonymous and not access.kinds:
        return None
    return AccessRule(
        anonymous=access.anonymous,
        kinds=frozenset(_KINDS[kind] for kind in access.kinds),
        corp_administrator=access.corp_administrator,
        right=_read_right(access.right),
    )


def _read_right(value: "access_pb2.Right.ValueType") -> Right | None:
    if value == access_pb2.RIGHT_UNSPECIFIED:
        return None
    return Right[access_pb2.Right.Name(value).removeprefix("RIGHT_")]
