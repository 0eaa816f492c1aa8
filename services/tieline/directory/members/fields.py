"""Members between protobuf and the rules: which fields there are, and what each may be. Pure."""

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from tieline.api.directory.v1 import directory_pb2
from tieline.chassis.fields import check_text, check_user_id
from tieline.directory.attributes.rules import check_values, to_json
from tieline.directory.departments.rules import MAX_ORDER
from tieline.directory.members.rules import (
    EMAIL_PATTERN,
    EMAIL_RULE,
    MAX_NAME_CHARACTERS,
    MAX_POSITION_CHARACTERS,
    MEDIA_ID_PATTERN,
    MEDIA_ID_RULE,
    MOBILE_PATTERN,
    MOBILE_RULE,
    Member,
    MemberDepartment,
    member_key,
    plan_departments,
)

# The open API's.
MAX_DEPARTMENTS_OF_A_MEMBER = 100

_TELEPHONE_PATTERN = re.compile(r"[0-9+, -]{0,32}")

_Rule = Callable[[Any, str, dict[str, str]], Any]

GENDERS = {
    directory_pb2.GENDER_UNSPECIFIED: "unknown",
    directory_pb2.GENDER_MALE: "male",
    directory_pb2.GENDER_FEMALE: "female",
}


def read_member(message: directory_pb2.Member, field: str, violations: dict[str, str]) -> Member:
    """Return the member that a request wants made."""
    check_user_id(message.user_id, f"{field}.user_id", violations)
    values = read_values(message, RULES, field, violations)
    try:
        main_id, departments = plan_departments(values["departments"], values["department_id"])
    except ValueError as error:
        violations[f"{field}.department_id"] = str(error)
    else:
        values |= {"department_id": main_id, "departments": departments}
    return Member(member_key(message.user_id), **values)


def read_values(
    message: directory_pb2.Member, paths: Iterable[str], field: str, violations: dict[str, str]
) -> dict[str, Any]:
    """Return the values of the named fields, by the names that ``Member`` has for them."""
    return {
        _NAMES.get(path, path): RULES[path](getattr(message, path), f"{field}.{path}", violations)
        for path in paths
    }


def change_member(member: Member, values: dict[str, Any]) -> Member:
    """Return the member with new values; ValueError tells which main department is none."""
    changed = replace(member, **values)
    department_id = changed.department_id
    if "department_id" not in values and all(
        at.department_id != department_id for at in changed.departments
    ):
        department_id = 0
    main_id, departments = plan_departments(changed.departments, department_id)
    return replace(changed, department_id=main_id, departments=departments)


def _text(minimum: int, maximum: int) -> _Rule:
    def read(value: str, field: str, violations: dict[str, str]) -> str:
        value = value.strip()
        check_text(value, field, violations, minimum=minimum, maximum=maximum)
        return value

    return read


def _matching(pattern: re.Pattern[str], rule: str) -> _Rule:
    def read(value: str, field: str, violations: dict[str, str]) -> str:
        if value and not pattern.fullmatch(value):
            violations[field] = rule
        return value

    return read


def _read_main_department(value: int, field: str, violations: dict[str, str]) -> int:
    if value < 0:
        violations[field] = "must be a department's id"
    return value


def _read_departments(
    value: Iterable[directory_pb2.MemberDepartment], field: str, violations: dict[str, str]
) -> tuple[MemberDepartment, ...]:
    departments = tuple(MemberDepartment(at.department_id, at.order, at.leader) for at in value)
    if len(departments) > MAX_DEPARTMENTS_OF_A_MEMBER:
        violations[field] = f"must be at most {MAX_DEPARTMENTS_OF_A_MEMBER}"
        return departments
    seen: set[int] = set()
    for index, at in enumerate(departments):
        if at.department_id <= 0:
            violations[f"{field}[{index}].department_id"] = "must be a department's id"
        elif at.department_id in seen:
            violations[f"{field}[{index}].department_id"] = "is there already"
        if not 0 <= at.order <= MAX_ORDER:
            violations[f"{field}[{index}].order"] = f"must be 0 to {MAX_ORDER}"
        seen.add(at.department_id)
    return departments


def _read_gender(
    value: "directory_pb2.Gender.ValueType", field: str, violations: dict[str, str]
) -> str:
    if value not in GENDERS:
        violations[field] = "must be a value of Gender"
    return GENDERS.get(value, "unknown")


def _read_direct_leader(value: str, field: str, violations: dict[str, str]) -> str:
    if value:
        check_user_id(value, field, violations)
    return member_key(value)


def read_external_profile(
    value: directory_pb2.ExternalProfile, field: str, violations: dict[str, str]
) -> bytes:
    """Return what customers see of a member, as it is stored."""
    check_text(value.corp_name, f"{field}.corp_name", violations, minimum=0, maximum=64)
    check_text(
        value.channel_nickname, f"{field}.channel_nickname", violations, minimum=0, maximum=64
    )
    check_values(value.attributes, f"{field}.attributes", violations)
    return value.SerializeToString()


def _read_attributes(value: Any, field: str, violations: dict[str, str]) -> str:
    before = len(violations)
    check_values(value, field, violations)
    return to_json(value) if len(violations) == before else "{}"


RULES: dict[str, _Rule] = {
    "name": _text(1, MAX_NAME_CHARACTERS),
    "alias": _text(0, 64),
    "department_id": _read_main_department,
    "departments": _read_departments,
    "position": _text(0, MAX_POSITION_CHARACTERS),
    "gender": _read_gender,
    "mobile": _matching(MOBILE_PATTERN, MOBILE_RULE),
    "telephone": _matching(_TELEPHONE_PATTERN, "must be 0 to 32 of digits, - + , and spaces"),
    "email": _matching(EMAIL_PATTERN, EMAIL_RULE),
    "biz_email": _matching(EMAIL_PATTERN, EMAIL_RULE),
    "address": _text(0, 128),
    "avatar_media_id": _matching(MEDIA_ID_PATTERN, MEDIA_ID_RULE),
    "direct_leader_user_id": _read_direct_leader,
    "external_position": _text(0, 12),
    "external_profile": read_external_profile,
    "extended_attributes": _read_attributes,
}
"""What each field that a request can set may be, by its name in the API."""

_NAMES = {"direct_leader_user_id": "direct_leader"}
