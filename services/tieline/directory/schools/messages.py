"""Schools, students and parents between protobuf and the rules."""

from collections.abc import Collection, Sequence

from google.protobuf.field_mask_pb2 import FieldMask

from tieline.api.directory.v1 import school_pb2
from tieline.directory.members.rules import member_key
from tieline.directory.schools.rules import (
    Administrator,
    AdministratorKind,
    DepartmentKind,
    SchoolDepartment,
)
from tieline.directory.schools.students import Child, Parent, Problem, Student, person_key

_DEPARTMENT_KINDS = {
    school_pb2.SchoolDepartmentKind.Value(f"SCHOOL_DEPARTMENT_KIND_{kind.name}"): kind
    for kind in DepartmentKind
}
_ADMINISTRATOR_KINDS = {
    school_pb2.SchoolAdministratorKind.Value(f"SCHOOL_ADMINISTRATOR_KIND_{kind.name}"): kind
    for kind in AdministratorKind
}
_DEPARTMENT_KIND_VALUES = {kind: value for value, kind in _DEPARTMENT_KINDS.items()}
_ADMINISTRATOR_KIND_VALUES = {kind: value for value, kind in _ADMINISTRATOR_KINDS.items()}


def find_department_kind(value: school_pb2.SchoolDepartmentKind.ValueType) -> DepartmentKind | None:
    """Return the kind that a request means; None for one that it left out."""
    return _DEPARTMENT_KINDS.get(value)


def administrators_from_proto(
    administrators: Collection[school_pb2.SchoolAdministrator],
) -> tuple[Administrator, ...]:
    """Return administrators with their user ids as they are stored."""
    return tuple(
        Administrator(member_key(each.user_id), _ADMINISTRATOR_KINDS.get(each.kind), each.subject)
        for each in administrators
    )


def department_to_proto(department: SchoolDepartment) -> school_pb2.SchoolDepartment:
    """Return a department as callers see it."""
    return school_pb2.SchoolDepartment(
        department_id=department.department_id,
        parent_department_id=department.parent_department_id,
        kind=_DEPARTMENT_KIND_VALUES[department.kind],
        name=department.name,
        standard_grade=department.standard_grade,
        register_year=department.register_year,
        order=department.order,
        administrators=[_administrator_to_proto(each) for each in department.administrators],
        etag=str(department.revision),
    )


def _administrator_to_proto(administrator: Administrator) -> school_pb2.SchoolAdministrator:
    assert administrator.kind is not None, "a stored one has a kind"
    return school_pb2.SchoolAdministrator(
        user_id=administrator.user_id,
        kind=_ADMINISTRATOR_KIND_VALUES[administrator.kind],
        subject=administrator.subject,
    )


def student_from_proto(student: school_pb2.Student) -> Student:
    """Return a student with the id as it is stored."""
    return Student(
        person_key(student.student_id),
        student.name,
        tuple(student.class_ids),
        student.mobile,
        student.etag,
    )


def student_to_proto(student: Student) -> school_pb2.Student:
    """Return a student as callers see it."""
    return school_pb2.Student(
        student_id=student.student_id,
        name=student.name,
        class_ids=student.class_ids,
        mobile=student.mobile,
        etag=student.etag,
    )


def parent_from_proto(parent: school_pb2.Parent) -> Parent:
    """Return a parent with all ids as they are stored."""
    return Parent(
        person_key(parent.parent_id),
        parent.mobile,
        tuple(Child(person_key(each.student_id), each.relation) for each in parent.children),
        parent.customer_id,
        parent.etag,
    )


def parent_to_proto(parent: Parent, *, seen_students: Collection[str]) -> school_pb2.Parent:
    """Return a parent as callers see it who may know of these students."""
    return school_pb2.Parent(
        parent_id=parent.parent_id,
        mobile=parent.mobile,
        children=[
            school_pb2.Child(student_id=child.student_id, relation=child.relation)
            for child in parent.children
            if child.student_id in seen_students
        ],
        customer_id=parent.customer_id,
        etag=parent.etag,
    )


def results_to_proto(
    ids: Sequence[str], outcomes: Sequence[object]
) -> list[school_pb2.SchoolItemResult]:
    """Return what became of each item."""
    return [
        school_pb2.SchoolItemResult(id=item_id, reason=outcome.reason, message=outcome.text)
        if isinstance(outcome, Problem)
        else school_pb2.SchoolItemResult(id=item_id)
        for item_id, outcome in zip(ids, outcomes, strict=True)
    ]


def read_mask(
    mask: FieldMask, fields: frozenset[str], violations: dict[str, str]
) -> frozenset[str]:
    """Return the fields that an update is about; all of them where it names none."""
    unknown = set(mask.paths) - fields
    if unknown:
        violations["update_mask"] = f"must name only {', '.join(sorted(fields))}"
    return frozenset(mask.paths) or fields
