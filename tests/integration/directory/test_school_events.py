"""What changes in a school is told by ids alone: nobody learns of children from an event."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from nats.aio.client import Client
from nats.aio.subscription import Subscription

from calls import call, refusal
from fakes.directory_corps import CALL_TIMEOUT_S, Corp, table
from fakes.directory_writers import Writer
from fakes.identity_corps import FakeIdentityCorps
from published_events import published_events
from tieline.api.common.v1 import audit_pb2
from tieline.api.directory.v1 import school_pb2, school_service_pb2, school_service_pb2_grpc
from tieline.embedded.nats import EmbeddedNats

GRADE = school_pb2.SCHOOL_DEPARTMENT_KIND_GRADE
CLASS = school_pb2.SCHOOL_DEPARTMENT_KIND_CLASS

EVENTS: dict[str, tuple[Any, str]] = {
    "school_departments_changed": (school_pb2.SchoolDepartmentsChanged, "department_ids"),
    "students_changed": (school_pb2.StudentsChanged, "student_ids"),
    "parents_changed": (school_pb2.ParentsChanged, "parent_ids"),
}

Event = tuple[str, list[Any]]


class Listener:
    """Hears the events of one corp's school, in their order."""

    def __init__(self, corp_id: str, subscription: Subscription) -> None:
        self._corp_id = corp_id
        self._messages = subscription.messages

    async def next(self) -> Event:
        async with asyncio.timeout(CALL_TIMEOUT_S):
            async for message in self._messages:
                name = message.subject.rpartition(".")[2]
                if name in EVENTS:
                    message_type, field = EVENTS[name]
                    event = message_type.FromString(message.data)
                    if event.corp_id == self._corp_id:
                        # Nothing beside the ids.
                        names = {each.name for each, _ in event.ListFields()}
                        assert names == {"event_id", "corp_id", field}
                        return name, list(getattr(event, field))
        raise AssertionError("the subscription ended")


@pytest.fixture
async def listener(corp: Corp, admin_broker: Client) -> AsyncIterator[Listener]:
    subscription = await admin_broker.subscribe("tieline.directory.v1.*")
    await admin_broker.flush()
    yield Listener(corp.corp_id, subscription)
    await subscription.unsubscribe()


@pytest.fixture
async def send(
    start_service: Callable[[str], Awaitable[grpc.aio.Channel]],
    identity_corps: FakeIdentityCorps,
    corp: Corp,
) -> Callable[[Any], Awaitable[Any]]:
    stub = school_service_pb2_grpc.SchoolServiceStub(await start_service("directory"))

    async def send(request: Any) -> Any:
        request.request_id = request.request_id or str(uuid.uuid4())
        method = getattr(stub, request.DESCRIPTOR.name.removesuffix("Request"))
        return await call(method, request, corp.tokens.administrator(corp.corp_id))

    return send


def create(kind: Any, name: str, parent_id: int, *teachers: str) -> Any:
    department = school_pb2.SchoolDepartment(kind=kind, name=name, parent_department_id=parent_id)
    for user_id in teachers:
        department.administrators.add(
            user_id=user_id, kind=school_pb2.SCHOOL_ADMINISTRATOR_KIND_HEAD_TEACHER
        )
    return school_service_pb2.CreateSchoolDepartmentRequest(department=department)


async def test_each_change_of_a_school_is_told_once_by_its_ids(
    send: Callable[[Any], Awaitable[Any]], owner: Writer, corp: Corp, listener: Listener
) -> None:
    await corp.import_file(table(("lin", "Lin", "")))
    grade = (await send(create(GRADE, "Grade 1", 1))).department.department_id
    class_ = (await send(create(CLASS, "1", grade, "lin"))).department.department_id
    students = school_service_pb2.BatchCreateStudentsRequest(
        request_id=str(uuid.uuid4()),
        students=[
            school_pb2.Student(student_id="Ann", name="Ann", class_ids=[class_]),
            school_pb2.Student(student_id="no", name="No", class_ids=[999]),
        ],
    )
    await send(students)
    await send(students)
    parent = school_pb2.Parent(
        parent_id="Mum",
        mobile="13800000001",
        children=[school_pb2.Child(student_id="ann", relation="mother")],
    )
    await send(school_service_pb2.BatchCreateParentsRequest(parents=[parent]))
    await send(school_service_pb2.BatchDeleteStudentsRequest(student_ids=["ann", "no"]))
    await owner.delete_member("lin")
    await send(school_service_pb2.DeleteSchoolDepartmentRequest(department_id=class_))

    heard = [await listener.next() for _ in range(8)]

    assert heard == [
        ("school_departments_changed", [1, grade]),
        ("school_departments_changed", [class_]),
        # Neither the one that was refused nor the request that came again.
        ("students_changed", ["ann"]),
        ("parents_changed", ["mum"]),
        ("students_changed", ["ann"]),
        ("parents_changed", ["mum"]),
        # The class has lost its teacher.
        ("school_departments_changed", [class_]),
        ("school_departments_changed", [class_]),
    ]


async def test_one_parent_is_read_changed_and_removed_and_that_is_written_down(
    send: Callable[[Any], Awaitable[Any]],
    start_service: Callable[[str], Awaitable[grpc.aio.Channel]],
    corp: Corp,
    nats: EmbeddedNats,
) -> None:
    """The teacher of the child reads the parent and changes nothing; the log names nobody."""
    stub = school_service_pb2_grpc.SchoolServiceStub(await start_service("directory"))
    await corp.import_file(table(("lin", "Lin", "")))
    grade = (await send(create(GRADE, "Grade 1", 1))).department.department_id
    class_ = (await send(create(CLASS, "1", grade, "lin"))).department.department_id
    ann = school_pb2.Student(student_id="ann", name="Ann", class_ids=[class_])
    await send(school_service_pb2.BatchCreateStudentsRequest(students=[ann]))
    child = school_pb2.Child(student_id="ann", relation="mother")
    mum = school_pb2.Parent(parent_id="Mum", mobile="13800000001", children=[child])
    changed = school_pb2.Parent(parent_id="mum", mobile="13800000002")
    update = school_service_pb2.BatchUpdateParentsRequest(
        parents=[changed], update_mask=FieldMask(paths=["mobile"])
    )
    removal = school_service_pb2.BatchDeleteParentsRequest(parent_ids=["mum"])
    teacher = corp.tokens.member(corp.corp_id, "lin")
    get = school_service_pb2.GetParentRequest(parent_id="mum")

    await send(school_service_pb2.BatchCreateParentsRequest(parents=[mum]))
    reasons = [
        (await refusal(stub.BatchUpdateParents, update, teacher)).reason,
        (await refusal(stub.BatchDeleteParents, removal, teacher)).reason,
    ]
    before = (await call(stub.GetParent, get, teacher)).parent
    updated = (await send(update)).results
    after = (await call(stub.GetParent, get, teacher)).parent
    removed = (await send(removal)).results
    gone = await refusal(stub.GetParent, get, teacher)

    assert reasons == ["CALLER_NOT_ALLOWED"] * 2
    assert [(each.id, each.reason) for each in (*updated, *removed)] == [("mum", "")] * 2
    assert (before.mobile, after.mobile) == ("13800000001", "13800000002")
    assert list(before.children) == list(after.children) == [child]
    assert gone.reason == "PARENT_NOT_FOUND"
    acts = await published_events(nats, "DIRECTORY", f"audit/{corp.corp_id}", 7)
    entries = [audit_pb2.AuditEntry.FromString(data) for _, data in acts][-3:]
    assert [(each.action, each.resource, dict(each.details)) for each in entries] == [
        ("directory.parent.create", "school", {"done": "1", "refused": "0"}),
        ("directory.parent.update", "school", {"done": "1", "refused": "0", "fields": "mobile"}),
        ("directory.parent.delete", "school", {"done": "1", "refused": "0"}),
    ]
