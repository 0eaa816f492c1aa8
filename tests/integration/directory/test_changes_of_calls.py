"""Whatever is done by the directory's calls, the feed brings as the reads show it."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from calls import call
from fakes.directory_copy import DirectoryCopy
from fakes.directory_corps import Corp
from fakes.directory_writers import Writer, update_department_request, update_member_request
from fakes.directory_writes import Writer as TableWriter
from tieline.api.directory.v1 import (
    change_service_pb2,
    change_service_pb2_grpc,
    department_service_pb2,
    directory_pb2,
    directory_service_pb2,
    member_service_pb2,
    tag_service_pb2,
)
from tieline.chassis.postgres import Pool
from tieline.client.errors import TielineError

DEPARTMENTS = (2, 3, 4)
USERS = ("an", "bo", "chen")
TAGS = (7, 8)

Request = Callable[[int, int, str, int, str], Any]

# What can be asked for, of two departments, a member, a tag and a name.
CALLS: dict[str, Request] = {
    "make a department": lambda a, b, user, tag, name: (
        department_service_pb2.CreateDepartmentRequest(
            department=directory_pb2.Department(
                department_id=a, name=f"{name}{a}", parent_department_id=b if b < a else 1
            )
        )
    ),
    "move a department": lambda a, b, user, tag, name: update_department_request(
        a, parent_department_id=b, name=f"{name}{a}"
    ),
    "appoint a leader": lambda a, b, user, tag, name: update_department_request(
        a, leader_user_ids=[user]
    ),
    "delete a department": lambda a, b, user, tag, name: (
        department_service_pb2.DeleteDepartmentRequest(department_id=a)
    ),
    "add a member": lambda a, b, user, tag, name: member_service_pb2.CreateMemberRequest(
        member=directory_pb2.Member(
            user_id=user, name=name, departments=[directory_pb2.MemberDepartment(department_id=a)]
        )
    ),
    "change a member": lambda a, b, user, tag, name: update_member_request(user, name=name),
    "move a member": lambda a, b, user, tag, name: update_member_request(
        user,
        department_id=a,
        departments=[directory_pb2.MemberDepartment(department_id=id_) for id_ in {a, b}],
    ),
    "disable a member": lambda a, b, user, tag, name: member_service_pb2.DisableMemberRequest(
        user_id=user
    ),
    "delete a member": lambda a, b, user, tag, name: member_service_pb2.DeleteMemberRequest(
        user_id=user
    ),
    "make a tag": lambda a, b, user, tag, name: tag_service_pb2.CreateTagRequest(
        tag=directory_pb2.Tag(tag_id=tag, name=f"{name}{tag}")
    ),
    "delete a tag": lambda a, b, user, tag, name: tag_service_pb2.DeleteTagRequest(tag_id=tag),
    "give a tag": lambda a, b, user, tag, name: tag_service_pb2.AddTagMembersRequest(
        tag_id=tag, user_ids=[user], department_ids=[a]
    ),
    "take a tag": lambda a, b, user, tag, name: tag_service_pb2.RemoveTagMembersRequest(
        tag_id=tag, user_ids=[user], department_ids=[b]
    ),
}

steps = st.lists(
    st.tuples(
        st.sampled_from([*CALLS, "read"]),
        st.sampled_from(DEPARTMENTS),
        st.sampled_from(DEPARTMENTS),
        st.sampled_from(USERS),
        st.sampled_from(TAGS),
        st.sampled_from("xy"),
    ),
    min_size=10,
    max_size=40,
)


class Reader:
    """Keeps a copy by ListChanges."""

    def __init__(self, channel: grpc.aio.Channel, token: str) -> None:
        self._stub = change_service_pb2_grpc.ChangeServiceStub(channel)
        self._token = token
        self._cursor = ""
        self.copy = DirectoryCopy()

    async def read(self, page_size: int) -> bool:
        """Read a page; return whether more follow."""
        request = change_service_pb2.ListChangesRequest(cursor=self._cursor, page_size=page_size)
        response = await call(self._stub.ListChanges, request, self._token)
        self.copy.apply(response.changes)
        self._cursor = response.next_cursor
        return response.has_more


async def do(owner: Writer, step: tuple[str, int, int, str, int, str]) -> None:
    name, a, b, user_id, tag_id, text = step
    try:
        await owner.send(CALLS[name](a, b, user_id, tag_id, text))
    except TielineError as error:
        # What can't be done as things stand; the arguments themselves are good.
        if error.code is grpc.StatusCode.INTERNAL:
            raise


# Each example is a corp of its own and up to 40 calls: too many of them to shrink one in time.
@settings(
    max_examples=10,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=steps)
async def test_copy_is_what_the_reads_show(
    make_corp: Callable[[], Awaitable[Corp]],
    channel: grpc.aio.Channel,
    directory_pool: Pool,
    steps: list[tuple[str, int, int, str, int, str]],
) -> None:
    corp = await make_corp()
    owner = Writer(corp.corp_id, channel, corp.tokens.administrator(corp.corp_id, "boss"))
    reader = Reader(channel, owner.token)

    for step in steps:
        if step[0] == "read":
            await reader.read(page_size=2)
        else:
            await do(owner, step)
    while await reader.read(page_size=3):
        pass

    members = await owner.send(directory_service_pb2.ListMembersRequest())
    departments = await owner.send(directory_service_pb2.ListDepartmentsRequest())
    tags = await owner.send(tag_service_pb2.ListTagsRequest())
    for department in departments.departments:
        department.ClearField("member_count")
    copy = reader.copy
    assert copy.members == {member.user_id: member for member in members.members}
    assert copy.departments == {each.department_id: each for each in departments.departments}
    assert copy.tags == {tag.tag_id: tag for tag in tags.tags}
    assert copy.state == await TableWriter(directory_pool, corp.corp_id).read_state()
