"""A school's tree, its students and parents, over a real channel."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from calls import call, refusal
from fakes.directory_corps import Corp, table
from fakes.directory_writers import Writer
from fakes.identity_corps import FakeIdentityCorps
from tieline.api.directory.v1 import (
    school_pb2,
    school_service_pb2,
    school_service_pb2_grpc,
    visibility_pb2,
    visibility_service_pb2,
)
from tieline.api.identity.v1 import identity_pb2
from tieline.chassis.postgres import Pool

Stub = school_service_pb2_grpc.SchoolServiceStub
CAMPUS = school_pb2.SCHOOL_DEPARTMENT_KIND_CAMPUS
STAGE = school_pb2.SCHOOL_DEPARTMENT_KIND_STAGE
GRADE = school_pb2.SCHOOL_DEPARTMENT_KIND_GRADE
CLASS = school_pb2.SCHOOL_DEPARTMENT_KIND_CLASS
HEAD_TEACHER = school_pb2.SCHOOL_ADMINISTRATOR_KIND_HEAD_TEACHER
GRADE_LEADER = school_pb2.SCHOOL_ADMINISTRATOR_KIND_GRADE_LEADER


@dataclass
class School:
    """A corp's school as its administrator changes it."""

    stub: Stub
    corp: Corp

    @property
    def token(self) -> str:
        return self.corp.tokens.administrator(self.corp.corp_id)

    def teacher(self, user_id: str) -> str:
        return self.corp.tokens.member(self.corp.corp_id, user_id)

    async def add(
        self,
        kind: school_pb2.SchoolDepartmentKind.ValueType,
        name: str,
        parent: int = 1,
        *administrators: tuple[str, school_pb2.SchoolAdministratorKind.ValueType],
    ) -> int:
        """Add a department; return its id."""
        request = school_service_pb2.CreateSchoolDepartmentRequest(
            request_id=str(uuid.uuid4()),
            department=school_pb2.SchoolDepartment(
                kind=kind,
                name=name,
                parent_department_id=parent,
                administrators=[
                    school_pb2.SchoolAdministrator(user_id=user_id, kind=each)
                    for user_id, each in administrators
                ],
            ),
        )
        response = await call(self.stub.CreateSchoolDepartment, request, self.token)
        return response.department.department_id

    async def add_classes(self) -> tuple[int, int]:
        """Add a grade with two classes; lin teaches the first one, mo the second."""
        await self.corp.import_file(
            table(("lin", "Lin", ""), ("mo", "Mo", ""), ("gu", "Gu", ""), ("no", "No", ""))
        )
        grade = await self.add(GRADE, "Grade 1", 1, ("gu", GRADE_LEADER))
        one = await self.add(CLASS, "1", grade, ("lin", HEAD_TEACHER))
        two = await self.add(CLASS, "2", grade, ("mo", HEAD_TEACHER))
        return one, two

    async def add_students(self, *students: tuple[str, Collection[int]]) -> list[str]:
        """Add students by id and classes; return why not, for each."""
        request = school_service_pb2.BatchCreateStudentsRequest(
            request_id=str(uuid.uuid4()),
            students=[
                school_pb2.Student(student_id=id_, name=id_, class_ids=classes)
                for id_, classes in students
            ],
        )
        response = await call(self.stub.BatchCreateStudents, request, self.token)
        return [result.reason for result in response.results]

    async def add_parents(self, *parents: tuple[str, str, Collection[str]]) -> list[str]:
        """Add parents by id, mobile and children; return why not, for each."""
        request = school_service_pb2.BatchCreateParentsRequest(
            request_id=str(uuid.uuid4()), parents=[parent(*each) for each in parents]
        )
        response = await call(self.stub.BatchCreateParents, request, self.token)
        return [result.reason for result in response.results]

    async def list_class_parents(self, class_id: int, token: str) -> dict[str, list[str]]:
        """Return the children of each parent of a class."""
        request = school_service_pb2.ListClassParentsRequest(class_id=class_id)
        response = await call(self.stub.ListClassParents, request, token)
        return {
            each.parent_id: [child.student_id for child in each.children]
            for each in response.parents
        }


def parent(id_: str, mobile: str, children: Collection[str]) -> school_pb2.Parent:
    return school_pb2.Parent(
        parent_id=id_,
        mobile=mobile,
        children=[school_pb2.Child(student_id=each, relation="mother") for each in children],
    )


@pytest.fixture(scope="session")
async def school_stub(
    start_service: Callable[[str], Awaitable[grpc.aio.Channel]],
    identity_corps: FakeIdentityCorps,
) -> Stub:
    return Stub(await start_service("directory"))


@pytest.fixture
def school(school_stub: Stub, corp: Corp) -> School:
    return School(school_stub, corp)


async def list_departments(school: School, under: int = 0) -> list[school_pb2.SchoolDepartment]:
    request = school_service_pb2.ListSchoolDepartmentsRequest(under_department_id=under)
    response = await call(school.stub.ListSchoolDepartments, request, school.token)
    return list(response.departments)


async def test_first_department_makes_the_school_with_the_corps_name(school: School) -> None:
    assert await list_departments(school) == []

    grade = await school.add(GRADE, "Grade 1")
    class_ = await school.add(CLASS, "1", grade)

    root, first, second = await list_departments(school)
    assert (root.department_id, root.name, root.kind) == (
        1,
        "Jinyu Jewellery",
        school_pb2.SCHOOL_DEPARTMENT_KIND_SCHOOL,
    )
    assert (first.parent_department_id, second.parent_department_id) == (1, grade)
    assert [each.department_id for each in await list_departments(school, grade)] == [
        grade,
        class_,
    ]


async def test_request_that_comes_again_adds_one_department(school: School) -> None:
    request = school_service_pb2.CreateSchoolDepartmentRequest(
        request_id=str(uuid.uuid4()),
        department=school_pb2.SchoolDepartment(kind=CAMPUS, name="East", parent_department_id=1),
    )

    responses = await asyncio.gather(
        *(call(school.stub.CreateSchoolDepartment, request, school.token) for _ in range(3))
    )

    assert len({response.department.department_id for response in responses}) == 1
    assert len(await list_departments(school)) == 2


@pytest.mark.parametrize(
    ("department", "code", "reason"),
    [
        ({"kind": CLASS, "parent_department_id": 1}, "FAILED_PRECONDITION", "MISPLACED"),
        ({"kind": GRADE, "parent_department_id": 99}, "NOT_FOUND", "NOT_FOUND"),
        ({"kind": CAMPUS, "name": "East"}, "ALREADY_EXISTS", "EXISTS"),
    ],
)
async def test_department_that_fits_nowhere_is_refused(
    school: School, department: dict[str, Any], code: str, reason: str
) -> None:
    await school.add(CAMPUS, "East")
    wanted = {"name": "New", "parent_department_id": 1, **department}

    error = await refusal(
        school.stub.CreateSchoolDepartment,
        school_service_pb2.CreateSchoolDepartmentRequest(
            request_id=str(uuid.uuid4()), department=school_pb2.SchoolDepartment(**wanted)
        ),
        school.token,
    )

    assert (error.code.name, error.reason) == (code, f"SCHOOL_DEPARTMENT_{reason}")
    assert len(await list_departments(school)) == 2


async def test_wrong_fields_of_a_department_are_all_named(school: School) -> None:
    wrong = school_pb2.SchoolDepartment(
        kind=CLASS, name="", order=-1, etag="1", standard_grade=3, parent_department_id=1
    )
    request = school_service_pb2.CreateSchoolDepartmentRequest(department=wrong)

    error = await refusal(school.stub.CreateSchoolDepartment, request, school.token)

    assert set(error.violations) == {
        f"department.{field}" for field in ("name", "order", "etag", "standard_grade")
    }


async def test_corp_that_is_no_school_has_none(
    school: School, identity_corps: FakeIdentityCorps
) -> None:
    identity_corps.kinds[school.corp.corp_id] = identity_pb2.CORP_KIND_COMPANY

    error = await refusal(
        school.stub.CreateSchoolDepartment,
        school_service_pb2.CreateSchoolDepartmentRequest(
            request_id=str(uuid.uuid4()),
            department=school_pb2.SchoolDepartment(
                kind=GRADE, name="Grade", parent_department_id=1
            ),
        ),
        school.token,
    )

    assert (error.code.name, error.reason) == ("FAILED_PRECONDITION", "SCHOOL_NOT_ALLOWED")


async def test_department_is_changed_in_the_named_fields_by_whoever_saw_it_last(
    school: School,
) -> None:
    await school.corp.import_file(table(("lin", "Lin", "")))
    grade = await school.add(GRADE, "Grade 1")
    [_, before] = await list_departments(school)

    async def change(etag: str, *paths: str, **fields: Any) -> Any:
        request = school_service_pb2.UpdateSchoolDepartmentRequest(
            request_id=str(uuid.uuid4()),
            department=school_pb2.SchoolDepartment(department_id=grade, etag=etag, **fields),
        )
        request.update_mask.paths.extend(paths)
        return request

    leader = school_pb2.SchoolAdministrator(user_id="LIN", kind=GRADE_LEADER)
    response = await call(
        school.stub.UpdateSchoolDepartment,
        await change(before.etag, "administrators", administrators=[leader]),
        school.token,
    )
    late = await refusal(
        school.stub.UpdateSchoolDepartment,
        await change(before.etag, "name", name="Other"),
        school.token,
    )
    unknown = await refusal(
        school.stub.UpdateSchoolDepartment,
        await change("", "kind", kind=CLASS),
        school.token,
    )

    changed = response.department
    assert (changed.name, changed.administrators[0].user_id) == ("Grade 1", "lin")
    assert (late.code.name, late.reason) == ("ABORTED", "ETAG_MISMATCH")
    assert list(unknown.violations) == ["update_mask"]


async def test_administrators_must_be_members_whom_their_maker_sees(
    school: School, owner: Writer
) -> None:
    """Whom a rule hides from a manager of the school is nobody, unless the department has them."""
    await school.corp.import_file(table(("lin", "Lin", ""), ("shy", "Shy", "")))
    scope = visibility_pb2.VisibilityScope(user_ids=["shy"])
    kind = visibility_pb2.VISIBILITY_RULE_KIND_HIDDEN
    rule = visibility_pb2.VisibilityRule(display_name="Shy", kind=kind, targets=scope)
    await owner.send(visibility_service_pb2.CreateVisibilityRuleRequest(rule=rule))
    rights = {"roles": ["administrator"], "rights": ["manage_school"]}
    claims = {"kind": "member", "corp": school.corp.corp_id, "sub": "lin", **rights}
    manager = school.corp.tokens.sign(claims)
    held = await school.add(GRADE, "Held", 1, ("shy", GRADE_LEADER))
    free = await school.add(GRADE, "Free", 1)

    def lead(department_id: int, *user_ids: str) -> Any:
        leaders = [
            school_pb2.SchoolAdministrator(user_id=id_, kind=GRADE_LEADER) for id_ in user_ids
        ]
        return school_service_pb2.UpdateSchoolDepartmentRequest(
            request_id=str(uuid.uuid4()),
            department=school_pb2.SchoolDepartment(
                department_id=department_id, administrators=leaders
            ),
            update_mask=FieldMask(paths=["administrators"]),
        )

    refused = [
        await refusal(school.stub.UpdateSchoolDepartment, lead(free, user_id), manager)
        for user_id in ("shy", "ghost")
    ]
    kept = await call(school.stub.UpdateSchoolDepartment, lead(held, "shy", "lin"), manager)

    assert [(error.reason, error.text) for error in refused] == [
        ("USER_NOT_FOUND", "no such member")
    ] * 2
    assert {each.user_id for each in kept.department.administrators} == {"shy", "lin"}


async def test_administrators_must_be_members(school: School) -> None:
    error = await refusal(
        school.stub.CreateSchoolDepartment,
        school_service_pb2.CreateSchoolDepartmentRequest(
            request_id=str(uuid.uuid4()),
            department=school_pb2.SchoolDepartment(
                kind=GRADE,
                name="Grade",
                parent_department_id=1,
                administrators=[school_pb2.SchoolAdministrator(user_id="ghost", kind=GRADE_LEADER)],
            ),
        ),
        school.token,
    )

    assert (error.reason, error.metadata) == ("USER_NOT_FOUND", {"userId": "ghost"})


async def test_only_an_empty_department_is_deleted(school: School) -> None:
    one, two = await school.add_classes()
    await school.add_students(("s1", [one]))

    async def delete(department_id: int) -> str:
        request = school_service_pb2.DeleteSchoolDepartmentRequest(
            request_id=str(uuid.uuid4()), department_id=department_id
        )
        try:
            await call(school.stub.DeleteSchoolDepartment, request, school.token)
        except Exception as error:
            return str(getattr(error, "reason", error))
        return ""

    assert await delete(one) == "SCHOOL_DEPARTMENT_NOT_EMPTY"
    assert await delete(2) == "SCHOOL_DEPARTMENT_NOT_EMPTY"
    assert await delete(1) == "INVALID_FIELD"
    assert await delete(two) == ""
    assert await delete(two) == "SCHOOL_DEPARTMENT_NOT_FOUND"


async def test_good_items_of_a_batch_are_stored_and_the_others_told(school: School) -> None:
    one, _ = await school.add_classes()

    students = await school.add_students(("S1", [one]), ("s2", [99]), ("s3", [one]))
    again = await school.add_students(("s1", [one]))
    parents = await school.add_parents(
        ("P1", "13800000001", ["S1"]),
        ("p2", "13800000001", ["s1"]),
        ("p3", "13800000003", ["s2"]),
        ("p4", "13800000004", ["s1", "s3"]),
    )

    assert (students, again) == (["", "CLASS_NOT_FOUND", ""], ["STUDENT_EXISTS"])
    assert parents == ["", "PARENT_MOBILE_TAKEN", "STUDENT_NOT_FOUND", ""]
    assert await school.list_class_parents(one, school.token) == {
        "p1": ["s1"],
        "p4": ["s1", "s3"],
    }


async def test_malformed_item_refuses_the_batch_with_every_wrong_field(school: School) -> None:
    one, _ = await school.add_classes()
    request = school_service_pb2.BatchCreateStudentsRequest(
        request_id=str(uuid.uuid4()),
        students=[
            school_pb2.Student(student_id="s1", name="Good", class_ids=[one]),
            school_pb2.Student(student_id="", name="x" * 33, class_ids=[one]),
        ],
    )

    error = await refusal(school.stub.BatchCreateStudents, request, school.token)

    assert list(error.violations) == ["students[1].student_id", "students[1].name"]
    assert await school.add_students(("s1", [one])) == [""]


async def test_repeated_batch_gives_the_first_answer(school: School) -> None:
    one, _ = await school.add_classes()
    request = school_service_pb2.BatchCreateStudentsRequest(
        request_id=str(uuid.uuid4()),
        students=[school_pb2.Student(student_id="s1", name="S", class_ids=[one])],
    )

    first, second = await asyncio.gather(
        *(call(school.stub.BatchCreateStudents, request, school.token) for _ in range(2))
    )

    assert [result.reason for result in first.results] == [""]
    assert first == second


async def test_students_and_parents_are_changed_and_deleted(school: School) -> None:
    one, two = await school.add_classes()
    await school.add_students(("s1", [one]), ("s2", [one]))
    await school.add_parents(("p1", "13800000001", ["s1"]), ("p2", "13800000002", ["s1", "s2"]))

    moved = school_service_pb2.BatchUpdateStudentsRequest(
        request_id=str(uuid.uuid4()),
        students=[school_pb2.Student(student_id="s2", class_ids=[two])],
    )
    moved.update_mask.paths.append("class_ids")
    await call(school.stub.BatchUpdateStudents, moved, school.token)
    linked = school_service_pb2.BatchUpdateParentsRequest(
        request_id=str(uuid.uuid4()),
        parents=[school_pb2.Parent(parent_id="p2", customer_id="wm1")],
    )
    linked.update_mask.paths.append("customer_id")
    await call(school.stub.BatchUpdateParents, linked, school.token)
    deleted = await call(
        school.stub.BatchDeleteStudents,
        school_service_pb2.BatchDeleteStudentsRequest(
            request_id=str(uuid.uuid4()), student_ids=["s1", "s9"]
        ),
        school.token,
    )

    assert [each.reason for each in deleted.results] == ["", "STUDENT_NOT_FOUND"]
    assert await school.list_class_parents(one, school.token) == {}
    # p1 had no other child.
    gone = school_service_pb2.GetParentRequest(parent_id="p1")
    assert (await refusal(school.stub.GetParent, gone, school.token)).reason == "PARENT_NOT_FOUND"
    kept = await call(
        school.stub.GetParent, school_service_pb2.GetParentRequest(parent_id="p2"), school.token
    )
    assert (kept.parent.customer_id, [each.student_id for each in kept.parent.children]) == (
        "wm1",
        ["s2"],
    )
    removed = await call(
        school.stub.BatchDeleteParents,
        school_service_pb2.BatchDeleteParentsRequest(
            request_id=str(uuid.uuid4()), parent_ids=["p2"]
        ),
        school.token,
    )
    assert [each.reason for each in removed.results] == [""]
    student = await call(
        school.stub.GetStudent, school_service_pb2.GetStudentRequest(student_id="S2"), school.token
    )
    assert (student.student.name, list(student.parents)) == ("s2", [])


async def test_parents_end_at_the_limit_which_a_verified_corp_has_higher(
    school: School, identity_corps: FakeIdentityCorps, directory_pool: Pool
) -> None:
    one, _ = await school.add_classes()
    await school.add_students(("s1", [one]))
    async with directory_pool.acquire() as connection:
        await connection.execute(
            """
            INSERT INTO directory.parents (corp_id, parent_id, mobile)
            SELECT $1, 'x' || number, (10000000 + number)::text
              FROM generate_series(1, 1999) AS number
            """,
            school.corp.corp_id,
        )

    full = await school.add_parents(("p1", "1380001", ["s1"]), ("p2", "1380002", ["s1"]))
    identity_corps.verified.add(school.corp.corp_id)
    verified = await school.add_parents(("p2", "1380002", ["s1"]))

    assert (full, verified) == (["", "PARENT_LIMIT"], [""])


async def test_teachers_reach_the_parents_of_their_classes_and_of_no_other(
    school: School,
) -> None:
    one, two = await school.add_classes()
    await school.add_students(("s1", [one]), ("s2", [two]))
    await school.add_parents(("p1", "13800000001", ["s1", "s2"]), ("p2", "13800000002", ["s2"]))
    lin, leader, other = (school.teacher(user_id) for user_id in ("lin", "gu", "no"))

    assert await school.list_class_parents(one, lin) == {"p1": ["s1"]}
    assert await school.list_class_parents(two, leader) == {"p1": ["s2"], "p2": ["s2"]}
    seen = await call(
        school.stub.GetParent, school_service_pb2.GetParentRequest(parent_id="p1"), lin
    )
    assert [child.student_id for child in seen.parent.children] == ["s1"]
    for token, request, reason in (
        (lin, school_service_pb2.ListClassParentsRequest(class_id=two), "CLASS_NOT_FOUND"),
        (lin, school_service_pb2.ListStudentsRequest(class_id=two), "CLASS_NOT_FOUND"),
        (lin, school_service_pb2.GetStudentRequest(student_id="s2"), "STUDENT_NOT_FOUND"),
        (lin, school_service_pb2.GetParentRequest(parent_id="p2"), "PARENT_NOT_FOUND"),
        (other, school_service_pb2.ListClassParentsRequest(class_id=one), "CLASS_NOT_FOUND"),
        (other, school_service_pb2.GetStudentRequest(student_id="s1"), "STUDENT_NOT_FOUND"),
        (other, school_service_pb2.GetParentRequest(parent_id="p1"), "PARENT_NOT_FOUND"),
    ):
        method = getattr(school.stub, type(request).__name__.removesuffix("Request"))
        assert (await refusal(method, request, token)).reason == reason


async def test_students_name_is_corrected_and_the_rest_stays(school: School) -> None:
    one, _ = await school.add_classes()
    await school.add_students(("s1", [one]))
    renamed = school_service_pb2.BatchUpdateStudentsRequest(
        request_id=str(uuid.uuid4()),
        students=[school_pb2.Student(student_id="s1", name="Xiao Ming")],
        update_mask=FieldMask(paths=["name"]),
    )

    answers = [await call(school.stub.BatchUpdateStudents, renamed, school.token) for _ in range(2)]

    assert answers[0] == answers[1]
    request = school_service_pb2.GetStudentRequest(student_id="s1")
    found = (await call(school.stub.GetStudent, request, school.token)).student
    assert (found.name, list(found.class_ids)) == ("Xiao Ming", [one])


async def test_nobody_but_who_manages_the_whole_school_changes_it(school: School) -> None:
    await school.add_classes()
    request = school_service_pb2.BatchDeleteStudentsRequest(
        request_id=str(uuid.uuid4()), student_ids=["s1"]
    )
    limited = school.corp.tokens.sign(
        {
            "kind": "member",
            "corp": school.corp.corp_id,
            "sub": "adm",
            "roles": ["administrator"],
            "rights": ["manage_school"],
            "departments": [2],
        }
    )

    teacher = await refusal(school.stub.BatchDeleteStudents, request, school.teacher("lin"))
    ranged = await refusal(school.stub.BatchDeleteStudents, request, limited)

    assert (teacher.reason, ranged.reason) == ("CALLER_NOT_ALLOWED", "OUT_OF_RANGE")


async def test_classes_and_parents_are_listed_page_by_page(school: School) -> None:
    one, _ = await school.add_classes()
    await school.add_students(*((f"s{n}", [one]) for n in range(5)))
    await school.add_parents(*((f"p{n}", f"1380000000{n}", [f"s{n}"]) for n in range(5)))

    async def pages(method: Any, request: Any, field: str) -> list[int]:
        sizes = []
        while True:
            response = await call(method, request, school.teacher("lin"))
            sizes.append(len(getattr(response, field)))
            request.page_token = response.next_page_token
            if not response.next_page_token:
                return sizes

    assert await pages(
        school.stub.ListStudents,
        school_service_pb2.ListStudentsRequest(class_id=one, page_size=2),
        "students",
    ) == [2, 2, 1]
    assert await pages(
        school.stub.ListClassParents,
        school_service_pb2.ListClassParentsRequest(class_id=one, page_size=3),
        "parents",
    ) == [3, 2]
    assert await pages(
        school.stub.ListSchoolDepartments,
        school_service_pb2.ListSchoolDepartmentsRequest(page_size=3),
        "departments",
    ) == [3, 1]
