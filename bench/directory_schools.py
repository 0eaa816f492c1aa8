"""How long a city's education bureau takes to bring in its schools.

Measures ``directory.school_seconds``: one school as its administrator brings it in, by the public
API of a platform of its own, one step after the other: the corp and its owner's first sign-in, the
link with the bureau from both sides, teachers and departments by an import, grades and classes with
their head teachers, students, and parents. ``directory.schools_1300_hours`` is what 1,300
schools take at that rate, one after the other, beside a day. BENCH_SCHOOLS is how many schools are
brought in; by themselves they take some seconds each.
"""

import asyncio
import json
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bench.harness import Benchmark, Figure, Target, summarise
from bench.local_platform import LocalPlatform, running_platform, temporary_data
from tieline.api.directory.v1 import (
    directory_service_pb2,
    linked_corp_service_pb2,
    school_pb2,
    school_service_pb2,
)
from tieline.api.identity.v1 import (
    corp_link_pb2,
    corp_link_service_pb2,
    identity_pb2,
    identity_service_pb2,
)
from tieline.chassis.ids import new_uuid7
from tieline.client import Endpoints, SignedIn, Tieline, TielineError, connect

_SCHOOL = "directory.school_seconds"
_BUREAU = "directory.schools_1300_hours"
_SCHOOLS_OF_A_CITY = 1_300
_HOURS_OF_A_DAY = 24.0

_SCHOOLS = int(os.environ.get("BENCH_SCHOOLS", "20"))

# A school of the city's average, below the 2,000 parents of one that nobody verified.
_GRADES = 6
_CLASSES_A_GRADE = 4
_STUDENTS_A_CLASS = 40
_TEACHERS = 60
_SECOND_PARENT_RATIO = 0.9
_BATCH = 100
_SEED = 7
_RETRY_INTERVAL_S = 0.02
_PASSWORD = "a long password"  # noqa: S105 -- of corps that end with the benchmark

_LAST_NAMES = "王李张刘陈杨赵黄周吴"
_FIRST_NAMES = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _School:
    """What a school's administrator has at hand."""

    teachers: bytes
    """CSV, with their departments."""

    students: Sequence[school_pb2.Student]
    """Their class is its number from 0 on, until it has an id."""

    parents: Sequence[school_pb2.Parent]


async def measure() -> Sequence[Figure]:
    """Bring in one school after the other."""
    seconds: list[float] = []
    with temporary_data() as data:
        async with (
            running_platform(data) as platform,
            connect(Endpoints.read(data / "endpoints.json")) as tieline,
        ):
            platform_administrator = await tieline.sign_in_platform_administrator(
                "platform", _read_password(platform)
            )
            bureau, _ = await _found(
                tieline, platform_administrator, "Bureau", identity_pb2.CORP_KIND_GOVERNMENT
            )
            for number in range(_SCHOOLS):
                school = _make_school(random.Random(_SEED * 10_000 + number), number)
                begin = time.monotonic()
                owner = await _link(tieline, platform_administrator, bureau, number)
                await _fill(owner, school)
                seconds.append(time.monotonic() - begin)
            await _check_links(bureau)
    hours = [each * _SCHOOLS_OF_A_CITY / 3600 for each in seconds]
    target = Target("value", "at most", _HOURS_OF_A_DAY)
    return [
        summarise(_SCHOOL, seconds, "s"),
        # By the mean: a slow school counts.
        summarise(_BUREAU, [sum(hours) / len(hours)], "h", target=target),
    ]


async def _found(
    tieline: Tieline, administrator: SignedIn, name: str, kind: identity_pb2.CorpKind.ValueType
) -> tuple[SignedIn, str]:
    """Make a corp; return its owner, signed in, and its id."""
    created = await administrator.identity.CreateCorp(
        identity_service_pb2.CreateCorpRequest(
            request_id=new_uuid7(),
            display_name=name,
            kind=kind,
            owner_user_id="owner",
            owner_name="Owner",
        )
    )
    corp_id, code = created.corp.corp_id, created.owner_invitation.code
    return await tieline.accept_invitation(corp_id, "owner", code, _PASSWORD), corp_id


async def _link(
    tieline: Tieline, administrator: SignedIn, bureau: SignedIn, number: int
) -> SignedIn:
    """Make a school's corp under the bureau; return its owner."""
    owner, corp_id = await _found(
        tieline, administrator, f"School {number}", identity_pb2.CORP_KIND_SCHOOL
    )
    invited = await bureau.corp_links.InviteCorpLink(
        corp_link_service_pb2.InviteCorpLinkRequest(
            request_id=new_uuid7(),
            invited_corp_id=corp_id,
            kind=corp_link_pb2.CORP_LINK_KIND_BUREAU_SCHOOL,
        )
    )
    whole = corp_link_pb2.CORP_LINK_SHARE_SCOPE_WHOLE_DIRECTORY
    await owner.corp_links.AcceptCorpLink(
        corp_link_service_pb2.AcceptCorpLinkRequest(
            link_id=invited.link.link_id, share=corp_link_pb2.CorpLinkShare(scope=whole)
        )
    )
    return owner


async def _fill(owner: SignedIn, school: _School) -> None:
    await _when_ready(lambda: _import(owner, school.teachers))
    class_ids = await _add_classes(owner)
    for students in _cut(school.students):
        request = school_service_pb2.BatchCreateStudentsRequest(request_id=new_uuid7())
        for student in students:
            added = request.students.add()
            added.CopyFrom(student)
            added.class_ids[0] = class_ids[student.class_ids[0]]
        _check((await owner.schools.BatchCreateStudents(request)).results)
    for parents in _cut(school.parents):
        added_parents = school_service_pb2.BatchCreateParentsRequest(
            request_id=new_uuid7(), parents=parents
        )
        _check((await owner.schools.BatchCreateParents(added_parents)).results)


async def _import(owner: SignedIn, file: bytes) -> None:
    async def requests() -> AsyncIterator[directory_service_pb2.ImportMembersRequest]:
        config = directory_service_pb2.ImportMembersConfig()
        yield directory_service_pb2.ImportMembersRequest(config=config)
        yield directory_service_pb2.ImportMembersRequest(chunk=file)

    async for response in owner.directory.ImportMembers(requests()):
        if response.HasField("summary"):
            assert (response.summary.added, response.summary.refused) == (_TEACHERS, 0)


async def _when_ready(act: Callable[[], Awaitable[None]]) -> None:
    """Act once the directory has heard of the new corp, by an event, within moments."""
    while True:
        try:
            return await act()
        except TielineError as error:
            if error.reason != "CORP_NOT_READY":
                raise
        await asyncio.sleep(_RETRY_INTERVAL_S)


async def _add_classes(owner: SignedIn) -> list[int]:
    """Make grades and classes, each class with a head teacher; return the classes' ids."""
    class_ids: list[int] = []
    for grade in range(_GRADES):
        grade_id = await _add_department(
            owner, school_pb2.SCHOOL_DEPARTMENT_KIND_GRADE, f"Grade {grade + 1}", 1
        )
        for number in range(_CLASSES_A_GRADE):
            head_teacher = school_pb2.SchoolAdministrator(
                user_id=f"teacher{len(class_ids)}",
                kind=school_pb2.SCHOOL_ADMINISTRATOR_KIND_HEAD_TEACHER,
            )
            class_id = await _add_department(
                owner,
                school_pb2.SCHOOL_DEPARTMENT_KIND_CLASS,
                f"Class {number + 1}",
                grade_id,
                head_teacher,
            )
            class_ids.append(class_id)
    return class_ids


async def _add_department(
    owner: SignedIn,
    kind: school_pb2.SchoolDepartmentKind.ValueType,
    name: str,
    parent_id: int,
    *administrators: school_pb2.SchoolAdministrator,
) -> int:
    response = await owner.schools.CreateSchoolDepartment(
        school_service_pb2.CreateSchoolDepartmentRequest(
            request_id=new_uuid7(),
            department=school_pb2.SchoolDepartment(
                kind=kind,
                name=name,
                parent_department_id=parent_id,
                administrators=administrators,
            ),
        )
    )
    return response.department.department_id


async def _check_links(bureau: SignedIn) -> None:
    """Wait until the directory lets the bureau look into each school."""
    while True:
        listed = await bureau.linked_corps.ListLinkedCorps(
            linked_corp_service_pb2.ListLinkedCorpsRequest(page_size=1000)
        )
        if len(listed.linked_corps) >= min(_SCHOOLS, 1000):
            return
        await asyncio.sleep(_RETRY_INTERVAL_S)


def _make_school(chance: random.Random, number: int) -> _School:
    """Make the people of a school, the same for the same seed."""
    prefix = 13_000_000_000 + number * 10_000
    teachers = ["user_id,name,department,mobile"] + [
        f"teacher{each},{_name(chance)},教研组{each % 8},{prefix + each}"
        for each in range(_TEACHERS)
    ]
    count = _GRADES * _CLASSES_A_GRADE * _STUDENTS_A_CLASS
    students = [
        school_pb2.Student(
            student_id=f"student{each}", name=_name(chance), class_ids=[each // _STUDENTS_A_CLASS]
        )
        for each in range(count)
    ]
    parents = [
        school_pb2.Parent(
            parent_id=f"{relation}{each}",
            mobile=str(prefix + 1_000 + each * 2 + index),
            children=[school_pb2.Child(student_id=f"student{each}", relation=relation)],
        )
        for each in range(count)
        for index, relation in enumerate(("mother", "father"))
        if index == 0 or chance.random() < _SECOND_PARENT_RATIO
    ]
    return _School("\n".join(teachers).encode(), students, parents)


def _name(chance: random.Random) -> str:
    return chance.choice(_LAST_NAMES) + "".join(chance.choices(_FIRST_NAMES, k=2))


def _cut(items: Sequence[T]) -> list[Sequence[T]]:
    return [items[start : start + _BATCH] for start in range(0, len(items), _BATCH)]


def _check(results: Sequence[school_pb2.SchoolItemResult]) -> None:
    reasons = {result.reason for result in results} - {""}
    if reasons:
        raise RuntimeError(f"items were refused: {reasons}")


def _read_password(platform: LocalPlatform) -> str:
    secrets = json.loads((platform.data / "secrets.json").read_text())
    return str(secrets["platform_administrator_password"])


BENCHMARKS = (Benchmark((_SCHOOL, _BUREAU), measure),)
