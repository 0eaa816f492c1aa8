"""Who may call a method."""

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor

from tieline.api.common.v1 import access_pb2, principal_pb2
from tieline.chassis.errors import PermissionDeniedError
from tieline.chassis.interceptors.access import AccessRule, build_access_table
from tieline.chassis.principals import Principal, PrincipalKind
from tieline.chassis.process import StartError

PLATFORM = PrincipalKind.PLATFORM_ADMINISTRATOR
MEMBER = PrincipalKind.MEMBER
CUSTOMER = PrincipalKind.CUSTOMER


def rule(*kinds: PrincipalKind, corp_administrator: bool = False) -> AccessRule:
    return AccessRule(kinds=frozenset(kinds), corp_administrator=corp_administrator)


def principal(kind: PrincipalKind, *roles: str) -> Principal:
    corp_id = "wwacme" if kind is MEMBER else ""
    return Principal(kind, "somebody", corp_id, "session-1", frozenset(roles))


@pytest.mark.parametrize(
    ("rule", "principal", "is_allowed"),
    [
        pytest.param(rule(MEMBER), principal(MEMBER), True, id="the kind"),
        pytest.param(rule(MEMBER), principal(CUSTOMER), False, id="another kind"),
        pytest.param(rule(MEMBER, CUSTOMER), principal(CUSTOMER), True, id="one of two kinds"),
        pytest.param(rule(PLATFORM), principal(MEMBER, "owner"), False, id="owner is no platform"),
        pytest.param(
            rule(MEMBER, corp_administrator=True), principal(MEMBER), False, id="plain member"
        ),
        pytest.param(
            rule(MEMBER, corp_administrator=True), principal(MEMBER, "owner"), True, id="owner"
        ),
        pytest.param(
            rule(MEMBER, corp_administrator=True),
            principal(MEMBER, "administrator"),
            True,
            id="administrator",
        ),
        pytest.param(
            rule(MEMBER, PLATFORM, corp_administrator=True),
            principal(PLATFORM),
            True,
            id="administrator's role is asked of members alone",
        ),
        pytest.param(
            rule(CUSTOMER, corp_administrator=True),
            principal(MEMBER, "owner"),
            False,
            id="role without the kind",
        ),
        pytest.param(rule(), principal(MEMBER, "owner"), False, id="closed method"),
    ],
)
def test_method_is_open_to_its_kinds_and_roles(
    rule: AccessRule, principal: Principal, is_allowed: bool
) -> None:
    if is_allowed:
        rule.check(principal, "/a.B/C")
        return
    with pytest.raises(PermissionDeniedError) as caught:
        rule.check(principal, "/a.B/C")
    assert (caught.value.reason, caught.value.metadata) == (
        "CALLER_NOT_ALLOWED",
        {"method": "/a.B/C"},
    )


def service_of(package: str, **methods: access_pb2.Access | None) -> ServiceDescriptor:
    """Return a service whose methods carry these options."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package}.proto",
        package=package,
        dependency=["tieline/api/common/v1/access.proto"],
        message_type=[descriptor_pb2.DescriptorProto(name="Empty")],
    )
    service = file.service.add(name="Sample")
    for name, access in methods.items():
        method = service.method.add(
            name=name, input_type=f".{package}.Empty", output_type=f".{package}.Empty"
        )
        if access is not None:
            method.options.Extensions[access_pb2.access].CopyFrom(access)
    pool = descriptor_pool.Default()  # the one that knows the option
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName(f"{package}.Sample")


def test_table_has_each_method_by_its_path() -> None:
    service = service_of(
        "access.whole",
        SignIn=access_pb2.Access(anonymous=True),
        Import=access_pb2.Access(
            kinds=[principal_pb2.PRINCIPAL_KIND_MEMBER], corp_administrator=True
        ),
    )

    table = build_access_table(service)

    assert table == {
        "/access.whole.Sample/SignIn": AccessRule(anonymous=True),
        "/access.whole.Sample/Import": rule(MEMBER, corp_administrator=True),
    }


def test_start_fails_and_names_every_method_that_does_not_say_who_may_call() -> None:
    service = service_of(
        "access.gaps",
        Forgotten=None,
        Empty=access_pb2.Access(),
        Declared=access_pb2.Access(kinds=[principal_pb2.PRINCIPAL_KIND_CUSTOMER]),
    )

    with pytest.raises(StartError) as caught:
        build_access_table(service)

    assert "access.gaps.Sample.Forgotten, access.gaps.Sample.Empty:" in caught.value.text
    assert "Declared" not in caught.value.text
