"""Somebody who changes a corp's directory, for tests: one line a call."""

from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from calls import call
from tieline.api.directory.v1 import (
    attribute_service_pb2_grpc,
    department_service_pb2,
    department_service_pb2_grpc,
    directory_pb2,
    directory_service_pb2,
    directory_service_pb2_grpc,
    member_service_pb2,
    member_service_pb2_grpc,
    tag_service_pb2,
    tag_service_pb2_grpc,
    visibility_service_pb2_grpc,
)
from tieline.chassis.ids import new_uuid7
from tieline.client.errors import TielineError


class Writer:
    """Calls the directory's services as one party; every call has a request id of its own."""

    def __init__(self, corp_id: str, channel: grpc.aio.Channel, token: str) -> None:
        self.corp_id = corp_id
        self.token = token
        self._channel = channel
        self._stubs: tuple[Any, ...] = (
            directory_service_pb2_grpc.DirectoryServiceStub(channel),
            department_service_pb2_grpc.DepartmentServiceStub(channel),
            member_service_pb2_grpc.MemberServiceStub(channel),
            attribute_service_pb2_grpc.AttributeServiceStub(channel),
            tag_service_pb2_grpc.TagServiceStub(channel),
            visibility_service_pb2_grpc.VisibilityServiceStub(channel),
        )

    def signed_in_as(self, token: str) -> "Writer":
        """Return another party of the same corp."""
        return Writer(self.corp_id, self._channel, token)

    async def send(self, request: Any) -> Any:
        """Call the method whose request this is; fill a request id in where there is none."""
        fields = request.DESCRIPTOR.fields_by_name
        if "request_id" in fields and not request.request_id:
            request.request_id = new_uuid7()
        name = request.DESCRIPTOR.name.removesuffix("Request")
        [stub] = [stub for stub in self._stubs if hasattr(stub, name)]
        return await call(getattr(stub, name), request, self.token)

    async def refused(self, request: Any) -> TielineError:
        """Call, and return the error that the call must end with."""
        with pytest.raises(TielineError) as caught:
            await self.send(request)
        return caught.value

    async def create_department(
        self, name: str, parent: int = 1, **fields: Any
    ) -> directory_pb2.Department:
        department = directory_pb2.Department(name=name, parent_department_id=parent, **fields)
        request = department_service_pb2.CreateDepartmentRequest(department=department)
        response: department_service_pb2.CreateDepartmentResponse = await self.send(request)
        return response.department

    async def get_department(self, department_id: int) -> directory_pb2.Department:
        request = department_service_pb2.GetDepartmentRequest(department_id=department_id)
        response: department_service_pb2.GetDepartmentResponse = await self.send(request)
        return response.department

    async def get_subtree(self, department_id: int = 0) -> list[list[directory_pb2.Department]]:
        """Return the departments message by message."""
        stub: Any = self._stubs[1]
        responses = stub.GetSubtree(
            department_service_pb2.GetSubtreeRequest(department_id=department_id),
            metadata=(("authorization", f"Bearer {self.token}"),),
        )
        try:
            return [list(response.departments) async for response in responses]
        except grpc.aio.AioRpcError as error:
            raise TielineError.from_rpc_error(error) from None

    async def create_member(
        self, user_id: str, *department_ids: int, **fields: Any
    ) -> directory_pb2.Member:
        fields.setdefault("name", user_id)
        departments = [directory_pb2.MemberDepartment(department_id=id_) for id_ in department_ids]
        member = directory_pb2.Member(user_id=user_id, **{"departments": departments, **fields})
        request = member_service_pb2.CreateMemberRequest(member=member)
        response: member_service_pb2.CreateMemberResponse = await self.send(request)
        return response.member

    async def get_member(self, user_id: str) -> directory_pb2.Member:
        request = directory_service_pb2.GetMemberRequest(user_id=user_id)
        response: directory_service_pb2.GetMemberResponse = await self.send(request)
        return response.member

    async def list_member_ids(self, **fields: Any) -> list[str]:
        request = directory_service_pb2.ListMembersRequest(**fields)
        response: directory_service_pb2.ListMembersResponse = await self.send(request)
        return [member.user_id for member in response.members]

    async def update_member(self, user_id: str, **fields: Any) -> directory_pb2.Member:
        response: member_service_pb2.UpdateMemberResponse = await self.send(
            update_member_request(user_id, **fields)
        )
        return response.member

    async def delete_member(self, user_id: str) -> None:
        await self.send(member_service_pb2.DeleteMemberRequest(user_id=user_id))

    async def create_tag(self, name: str, tag_id: int = 0) -> directory_pb2.Tag:
        request = tag_service_pb2.CreateTagRequest(tag=directory_pb2.Tag(name=name, tag_id=tag_id))
        response: tag_service_pb2.CreateTagResponse = await self.send(request)
        return response.tag

    async def add_to_tag(
        self, tag_id: int, user_ids: Sequence[str] = (), department_ids: Sequence[int] = ()
    ) -> tag_service_pb2.AddTagMembersResponse:
        request = tag_service_pb2.AddTagMembersRequest(
            tag_id=tag_id, user_ids=user_ids, department_ids=department_ids
        )
        response: tag_service_pb2.AddTagMembersResponse = await self.send(request)
        return response

    async def list_tagged(self, tag_id: int) -> tuple[list[int], list[str]]:
        request = tag_service_pb2.ListTagMembersRequest(tag_id=tag_id)
        response: tag_service_pb2.ListTagMembersResponse = await self.send(request)
        return list(response.department_ids), list(response.user_ids)


def update_department_request(
    department_id: int, etag: str = "", **fields: Any
) -> department_service_pb2.UpdateDepartmentRequest:
    """Return the request that changes exactly these fields."""
    return department_service_pb2.UpdateDepartmentRequest(
        department=directory_pb2.Department(department_id=department_id, etag=etag, **fields),
        update_mask=FieldMask(paths=list(fields)),
    )


def member_update(user_id: str, etag: str = "", **fields: Any) -> member_service_pb2.MemberUpdate:
    """Return the update that changes exactly these fields."""
    return member_service_pb2.MemberUpdate(
        member=directory_pb2.Member(user_id=user_id, etag=etag, **fields),
        update_mask=FieldMask(paths=list(fields)),
    )


def update_member_request(
    user_id: str, etag: str = "", **fields: Any
) -> member_service_pb2.UpdateMemberRequest:
    """Return the request that changes exactly these fields."""
    return member_service_pb2.UpdateMemberRequest(update=member_update(user_id, etag, **fields))
