"""Every call that could tell of a member or department, asked about one of them."""

import importlib
import pkgutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from fakes.directory_secrets import EAST, PARENTS, PLACES, TAG, USERS, secrets_of
from fakes.directory_writers import member_update, update_department_request, update_member_request
from tieline.api.directory import v1
from tieline.api.directory.v1 import change_service_pb2 as change
from tieline.api.directory.v1 import department_service_pb2 as department
from tieline.api.directory.v1 import directory_pb2, import_options_pb2
from tieline.api.directory.v1 import directory_service_pb2 as directory
from tieline.api.directory.v1 import export_service_pb2 as export
from tieline.api.directory.v1 import import_service_pb2 as imports
from tieline.api.directory.v1 import linked_corp_service_pb2 as linked
from tieline.api.directory.v1 import member_service_pb2 as member
from tieline.api.directory.v1 import school_service_pb2 as school
from tieline.api.directory.v1 import tag_service_pb2 as tag
from tieline.api.directory.v1 import visibility_service_pb2 as visibility
from tieline.chassis.ids import new_uuid7
from tieline.client.errors import TielineError

CALL_TIMEOUT_S = 20

SEARCHED_FIELDS = ("mobile", "email", "alias", "position")


def list_services() -> Iterator[ServiceDescriptor]:
    """Yield every service of the directory, whoever adds one."""
    for module in pkgutil.iter_modules(v1.__path__):
        if module.name.endswith("_service_pb2"):
            found = importlib.import_module(f"{v1.__name__}.{module.name}")
            yield from found.DESCRIPTOR.services_by_name.values()


@dataclass(frozen=True)
class Caller:
    """Somebody who calls any method of the directory."""

    channel: grpc.aio.Channel
    token: str

    async def ask(self, *requests: Message) -> list[Message | TielineError]:
        """Call the method whose requests these are; return all that it answered.

        Of a stream that does not end by itself that is the first answer.
        """
        metadata = (("authorization", f"Bearer {self.token}"),)
        method, stub = _find_stub(self.channel, requests[0].DESCRIPTOR.full_name)
        given: Any = _each(requests) if method.client_streaming else requests[0]
        answers: list[Message | TielineError] = []
        try:
            responses = stub(given, metadata=metadata, timeout=CALL_TIMEOUT_S)
            if not method.server_streaming:
                return [await responses]
            async for response in responses:
                answers.append(response)
                if method.name == "WatchChanges":
                    responses.cancel()
                    break
        except grpc.aio.AioRpcError as error:
            answers.append(TielineError.from_rpc_error(error))
        return answers


@cache
def _find_stub(channel: grpc.aio.Channel, request: str) -> tuple[MethodDescriptor, Any]:
    for service in list_services():
        for method in service.methods:
            if method.input_type.full_name == request:
                module_name = service.file.name.removesuffix(".proto").replace("/", ".")
                module = importlib.import_module(f"{module_name}_pb2_grpc")
                return method, getattr(getattr(module, f"{service.name}Stub")(channel), method.name)
    raise AssertionError(f"no method takes {request}")


async def _each(requests: tuple[Message, ...]) -> AsyncIterator[Message]:
    for request in requests:
        yield request


class Ask(NamedTuple):
    """One call."""

    requests: tuple[Message, ...]
    by: frozenset[str] = frozenset()
    """Fields of the member whom it is about, by whose values it asks."""


def list_asks(about: str, link_id: str) -> Iterator[Ask]:
    """Yield what can be asked about a member, without changing what anybody may see."""
    for request in (
        *_member_reads(about),
        *_department_reads(),
        *_other_reads(about),
        *_linked_reads(link_id),
        *_writes(about),
    ):
        if "request_id" in request.DESCRIPTOR.fields_by_name:
            request.request_id = new_uuid7()  # type: ignore[attr-defined]
        yield Ask((request,))
    yield from _lookups(about)
    yield Ask(_dry_run(about))


def _lookups(about: str) -> Iterator[Ask]:
    secrets = secrets_of(about)
    for field in SEARCHED_FIELDS:
        for size in (0, 1):
            request = directory.SearchMembersRequest(query=secrets[field], page_size=size)
            yield Ask((request,), frozenset({field}))
    mobile = member.GetMemberIdByMobileRequest(mobile=secrets["mobile"])
    yield Ask((mobile,), frozenset({"mobile"}))
    email = member.GetMemberIdByEmailRequest(email=secrets["biz_email"])
    yield Ask((email,), frozenset({"email", "biz_email"}))


def _member_reads(about: str) -> Iterator[Message]:
    for user_id in USERS:
        yield directory.GetMemberRequest(user_id=user_id)
        yield directory.BatchGetMembersRequest(user_ids=[user_id])
    yield directory.BatchGetMembersRequest(user_ids=USERS)
    for query in ("Name of", about[:2], "Dept", "13800", "work"):
        yield directory.SearchMembersRequest(query=query, page_size=1)
    yield directory.SearchMembersRequest(query="Dept")
    for department_id in (0, 1, *PARENTS):
        yield directory.ListMembersRequest(department_id=department_id, fetch_children=True)
    for size in (1, 3):
        yield directory.ListMembersRequest(page_size=size)
        yield member.ListMemberIdsRequest(page_size=size)
    yield member.ListMemberIdsRequest()


def _department_reads() -> Iterator[Message]:
    for department_id in (1, *PARENTS):
        yield department.GetDepartmentRequest(department_id=department_id)
    for department_id in (1, EAST):
        yield department.BatchGetDepartmentsRequest(department_ids=[department_id])
        yield department.GetSubtreeRequest(department_id=department_id)
    yield directory.ListDepartmentsRequest()
    for size in (1, 3):
        yield directory.ListDepartmentsRequest(page_size=size)


def _other_reads(about: str) -> Iterator[Message]:
    for size in (0, 1, 2):
        yield tag.ListTagMembersRequest(tag_id=TAG, page_size=size)
    yield change.ListChangesRequest()
    yield change.ListChangesRequest(page_size=3)
    yield change.WatchChangesRequest()
    yield export.ExportMembersRequest()
    yield export.ExportDepartmentsRequest()
    yield school.ListSchoolDepartmentsRequest()
    yield visibility.ListVisibilityRulesRequest()
    yield visibility.CheckVisibilityRequest(viewer_user_id=USERS[0], user_id=about)
    yield imports.ListImportJobsRequest()


def _linked_reads(link_id: str) -> Iterator[Message]:
    yield linked.ListLinkedCorpsRequest()
    for size in (0, 1):
        yield linked.ListLinkedDepartmentsRequest(link_id=link_id, page_size=size)
        yield linked.ListLinkedMembersRequest(link_id=link_id, page_size=size)
    for department_id in PARENTS:
        yield linked.ListLinkedMembersRequest(link_id=link_id, department_id=department_id)
    for user_id in USERS:
        yield linked.GetLinkedMemberRequest(link_id=link_id, user_id=user_id)


def _writes(about: str) -> Iterator[Message]:
    """Yield changes that leave everything as it is, or can't be made."""
    same = {"name": f"Name of {about}"}
    yield update_member_request(about, **same)
    yield member.BatchUpdateMembersRequest(updates=[member_update(about, **same)])
    yield member.DisableMemberRequest(user_id=about)
    yield member.EnableMemberRequest(user_id=about)
    yield member.CreateMemberRequest(member=directory_pb2.Member(user_id=about, name="New"))
    mobile = secrets_of(about)["mobile"]
    taken = directory_pb2.Member(user_id="fresh", name="Fresh", mobile=mobile, department_id=EAST)
    yield member.CreateMemberRequest(member=taken)
    yield member.DeleteMemberRequest(user_id=about, etag="0")
    yield member.BatchDeleteMembersRequest(user_ids=[about, "nobody"])
    for department_id in (1, *PLACES[about]):
        yield update_department_request(department_id, name_en="Dept")
        yield department.DeleteDepartmentRequest(department_id=department_id)
    again = directory_pb2.Department(name=f"Dept-{EAST}", parent_department_id=1)
    yield department.CreateDepartmentRequest(department=again)
    yield tag.AddTagMembersRequest(tag_id=TAG, user_ids=["fred"])
    yield tag.RemoveTagMembersRequest(tag_id=TAG, user_ids=["nobody"])
    mask = FieldMask(paths=["name"])
    yield tag.UpdateTagRequest(tag=directory_pb2.Tag(tag_id=TAG, name="Tag"), update_mask=mask)


def _dry_run(about: str) -> tuple[Message, ...]:
    """Return an import that would take what others have."""
    options = import_options_pb2.ImportOptions(dry_run=True)
    secrets = secrets_of(about)
    rows = (
        "user_id,name,department,mobile,email",
        f"fresh,Fresh,,{secrets['mobile']},",
        f"newer,Newer,,,{secrets['email']}",
    )
    return (
        directory.ImportMembersRequest(config=directory.ImportMembersConfig(options=options)),
        directory.ImportMembersRequest(chunk="\n".join(rows).encode()),
    )
