"""Departments between protobuf and the rules."""

from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from tieline.api.directory.v1 import directory_pb2
from tieline.chassis.fields import check_user_id, to_timestamp
from tieline.directory.departments.changes import DepartmentChanges
from tieline.directory.departments.rules import (
    MAX_DEPARTMENT_ID,
    MAX_LEADERS,
    MAX_ORDER,
    ROOT_DEPARTMENT_ID,
    Department,
    check_name,
)
from tieline.directory.masks import check_mask
from tieline.directory.members.rules import member_key

_Read = Callable[[directory_pb2.Department, dict[str, str]], Any]


def to_department(department: Department) -> directory_pb2.Department:
    """Return the department as the API shows it."""
    return directory_pb2.Department(
        department_id=department.department_id,
        name=department.name,
        parent_department_id=department.parent_department_id,
        path=department.path,
        member_count=department.member_count,
        name_en=department.name_en,
        order=department.order,
        leader_user_ids=department.leader_user_ids,
        ancestor_ids=department.ancestor_ids,
        etag=str(department.change_number),
        create_time=to_timestamp(department.create_time),
        update_time=to_timestamp(department.update_time),
    )


def read_new_department(
    message: directory_pb2.Department, violations: dict[str, str]
) -> DepartmentChanges:
    """Return the values of a department to make; its id is the message's."""
    if message.department_id and not (
        ROOT_DEPARTMENT_ID < message.department_id <= MAX_DEPARTMENT_ID
    ):
        violations["department.department_id"] = (
            f"must be {ROOT_DEPARTMENT_ID + 1} to {MAX_DEPARTMENT_ID}, or 0 to have one made"
        )
    if message.leader_user_ids:
        violations["department.leader_user_ids"] = (
            "must be set by UpdateDepartment, once the department has members"
        )
    return DepartmentChanges(
        name=_read_name(message, violations),
        name_en=_read_name_en(message, violations),
        order=_read_order(message, violations),
        parent_department_id=_read_parent(message, violations),
    )


def read_department_changes(
    message: directory_pb2.Department, mask: FieldMask, violations: dict[str, str]
) -> DepartmentChanges:
    """Return the values of the fields that the mask names."""
    paths = check_mask(mask, _READERS, "update_mask", violations)
    return DepartmentChanges(**{path: _READERS[path](message, violations) for path in paths})


def _read_name(message: directory_pb2.Department, violations: dict[str, str]) -> str:
    name = message.name.strip()
    check_name(name, "department.name", violations)
    return name


def _read_name_en(message: directory_pb2.Department, violations: dict[str, str]) -> str:
    name_en = message.name_en.strip()
    check_name(name_en, "department.name_en", violations, minimum=0)
    return name_en


def _read_order(message: directory_pb2.Department, violations: dict[str, str]) -> int:
    if not 0 <= message.order <= MAX_ORDER:
        violations["department.order"] = f"must be 0 to {MAX_ORDER}"
    return message.order


def _read_parent(message: directory_pb2.Department, violations: dict[str, str]) -> int:
    if message.parent_department_id <= 0:
        violations["department.parent_department_id"] = "must name the department above"
    return message.parent_department_id


def _read_leaders(message: directory_pb2.Department, violations: dict[str, str]) -> Sequence[str]:
    field = "department.leader_user_ids"
    for index, user_id in enumerate(message.leader_user_ids[: MAX_LEADERS + 1]):
        check_user_id(user_id, f"{field}[{index}]", violations)
    user_ids = [member_key(user_id) for user_id in message.leader_user_ids]
    if len(user_ids) > MAX_LEADERS:
        violations[field] = f"must be at most {MAX_LEADERS}"
    elif len(set(user_ids)) < len(user_ids):
        violations[field] = "must name each member once"
    return user_ids


_READERS: dict[str, _Read] = {
    "name": _read_name,
    "name_en": _read_name_en,
    "order": _read_order,
    "parent_department_id": _read_parent,
    "leader_user_ids": _read_leaders,
}
