"""Whatever is done by the directory's calls, the feed brings as the reads show it."""

import copy
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.field_mask_pb2 import FieldMask
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from nats.aio.client import Client

from calls import TIMEOUT_S, call
from fakes.directory_copy import DirectoryCopy
from fakes.directory_corps import Corp, publish_event
from fakes.directory_files import (
    REPLACE_DEPARTMENTS,
    REPLACE_MEMBERS,
    UPSERT,
    Files,
    Options,
)
from fakes.directory_writers import (
    Writer,
    member_update,
    update_department_request,
    update_member_request,
)
from fakes.directory_writes import Writer as TableWriter
from fakes.eventually import eventually
from tieline.api.directory.v1 import (
    attribute_pb2,
    attribute_service_pb2,
    change_service_pb2,
    change_service_pb2_grpc,
    department_service_pb2,
    directory_pb2,
    directory_service_pb2,
    member_service_pb2,
    tag_service_pb2,
)
from tieline.api.identity.v1 import identity_pb2
from tieline.chassis.ids import new_uuid7
from tieline.chassis.postgres import Pool
from tieline.client.errors import TielineError

DEPARTMENTS = (2, 3, 4)
USERS = ("an", "bo", "chen")
TAGS = (7, 8)
OWNER = "boss"
MEMBER_ACTIVATED = "tieline.identity.v1.member_activated"
BADGE = "Badge"

Request = Callable[[int, int, str, int, str], Any]


def badge(text: str) -> attribute_pb2.AttributeValue:
    return attribute_pb2.AttributeValue(name=BADGE, text=text)


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
    "change a member": lambda a, b, user, tag, name: update_member_request(
        user, name=name, extended_attributes=[badge(name)]
    ),
    "move a member": lambda a, b, user, tag, name: update_member_request(
        user,
        department_id=a,
        departments=[directory_pb2.MemberDepartment(department_id=id_) for id_ in {a, b}],
    ),
    "change members": lambda a, b, user, tag, name: member_service_pb2.BatchUpdateMembersRequest(
        updates=[
            member_update(user, alias=name, extended_attributes=[badge(name)]),
            member_update(
                OWNER,
                extended_attributes=[badge(name)],
                direct_leader_user_id=user if a == b else "",
            ),
        ]
    ),
    "disable a member": lambda a, b, user, tag, name: member_service_pb2.DisableMemberRequest(
        user_id=user
    ),
    "enable a member": lambda a, b, user, tag, name: member_service_pb2.EnableMemberRequest(
        user_id=user
    ),
    "delete a member": lambda a, b, user, tag, name: member_service_pb2.DeleteMemberRequest(
        user_id=user
    ),
    "delete members": lambda a, b, user, tag, name: member_service_pb2.BatchDeleteMembersRequest(
        user_ids=USERS[: a - 1]
    ),
    "make an attribute": lambda a, b, user, tag, name: attribute_service_pb2.CreateAttributeRequest(
        attribute=attribute_pb2.Attribute(name=BADGE, kind=attribute_pb2.ATTRIBUTE_KIND_TEXT)
    ),
    "delete an attribute": lambda a, b, user, tag, name: (
        attribute_service_pb2.DeleteAttributeRequest(name=BADGE)
    ),
    "make a tag": lambda a, b, user, tag, name: tag_service_pb2.CreateTagRequest(
        tag=directory_pb2.Tag(tag_id=tag, name=f"{name}{tag}")
    ),
    "rename a tag": lambda a, b, user, tag, name: tag_service_pb2.UpdateTagRequest(
        tag=directory_pb2.Tag(tag_id=tag, name=f"{name}{a}{tag}"),
        update_mask=FieldMask(paths=["name"]),
    ),
    "delete a tag": lambda a, b, user, tag, name: tag_service_pb2.DeleteTagRequest(tag_id=tag),
    "give a tag": lambda a, b, user, tag, name: tag_service_pb2.AddTagMembersRequest(
        tag_id=tag, user_ids=[user], department_ids=[a]
    ),
    "take a tag": lambda a, b, user, tag, name: tag_service_pb2.RemoveTagMembersRequest(
        tag_id=tag, user_ids=[user], department_ids=[b]
    ),
}


def _import(rows: str, mode: int = UPSERT) -> tuple[bytes, Options]:
    return rows.encode(), Options(mode=mode)  # type: ignore[arg-type]


# What a file can do, of the same things.
FILES: dict[str, Callable[[int, int, str, int, str], tuple[bytes, Options]]] = {
    "import members": lambda a, b, user, tag, name: _import(
        f"user_id,name,department,alias,direct_leader\n"
        f"{user},{name},{name}{a}/{name}{b};{name}{a},{name},{OWNER}\n"
        f"{USERS[0]},{name},{name}{b},,\n"
    ),
    "replace members": lambda a, b, user, tag, name: _import(
        f"user_id,name,department\n{user},{name},{name}{a}\n", REPLACE_MEMBERS
    ),
    "replace departments": lambda a, b, user, tag, name: _import(
        f"name,id,parent_id,order\n{name}{a},{a},1,{b}\n{name}new,9,{a},\n", REPLACE_DEPARTMENTS
    ),
}

# So that what is drawn finds something to change.
BEGINNING = (
    ("make a department", 2, 3, "an", 7, "x"),
    ("make a department", 3, 2, "an", 7, "x"),
    ("make an attribute", 2, 2, "an", 7, "x"),
    ("add a member", 2, 2, "an", 7, "x"),
    ("add a member", 3, 3, "bo", 7, "x"),
    ("make a tag", 2, 2, "an", 7, "x"),
    ("give a tag", 2, 3, "bo", 7, "x"),
)

READS = ("read", "catch up", "catch up", "watch", "keep", "go back", "begin anew")

Step = tuple[str, int, int, str, int, str]
steps = st.lists(
    st.tuples(
        st.sampled_from([*CALLS, *FILES, *FILES, "import in the background", "accept", *READS]),
        st.sampled_from(DEPARTMENTS),
        st.sampled_from(DEPARTMENTS),
        st.sampled_from(USERS),
        st.sampled_from(TAGS),
        st.sampled_from("xy"),
    ),
    min_size=20,
    max_size=50,
)

CATCH_UP: Step = ("catch up", 2, 2, "an", 7, "x")

# Each change once, read by somebody who has all that was before.
EVERY_CHANGE: list[Step] = [
    step
    for name in (*CALLS, *FILES, "accept", "import in the background")
    for step in ((name, 2, 3, "an", 7, "y"), CATCH_UP)
]


class Reader:
    """Keeps a copy by the feed."""

    def __init__(self, channel: grpc.aio.Channel, token: str) -> None:
        self._stub = change_service_pb2_grpc.ChangeServiceStub(channel)
        self._token = token
        self.begin_anew()
        self.keep()

    def begin_anew(self) -> None:
        self.copy, self._cursor = DirectoryCopy(), ""

    def keep(self) -> None:
        """Store the copy with its cursor, as somebody does who may die at any moment."""
        self._kept = copy.deepcopy(self.copy), self._cursor

    def go_back(self) -> None:
        """Go on from what was stored, whatever was read since."""
        stored, self._cursor = self._kept
        self.copy = copy.deepcopy(stored)

    async def read(self, page_size: int) -> bool:
        """Read a page; return whether more follow."""
        request = change_service_pb2.ListChangesRequest(cursor=self._cursor, page_size=page_size)
        response = await call(self._stub.ListChanges, request, self._token)
        self._apply(response)
        return response.has_more

    async def watch(self) -> None:
        """Take one response of a stream that is cut then."""
        stream = self._stub.WatchChanges(
            change_service_pb2.WatchChangesRequest(cursor=self._cursor),
            metadata=(("authorization", f"Bearer {self._token}"),),
            timeout=TIMEOUT_S,
        )
        async for response in stream:
            self._apply(response)
            stream.cancel()
            break

    def _apply(
        self,
        response: change_service_pb2.ListChangesResponse | change_service_pb2.WatchChangesResponse,
    ) -> None:
        self.copy.apply(response.changes)
        self._cursor = response.next_cursor


@dataclass(frozen=True)
class Scene:
    """A corp, who changes it and who keeps a copy."""

    owner: Writer
    files: Files
    broker: Client
    reader: Reader

    async def do(self, step: Step) -> None:
        """Do it, if it can be done as things stand; the arguments themselves are good."""
        try:
            if step[0] in READS:
                await self._read(step)
            else:
                await self._change(step)
        except TielineError as error:
            if error.code is grpc.StatusCode.INTERNAL:
                raise

    async def _read(self, step: Step) -> None:
        match step[0]:
            case "read":
                await self.reader.read(page_size=step[1])
            case "catch up":
                await self.reader.read(page_size=100)
            case "watch":
                await self.reader.watch()
            case "keep":
                self.reader.keep()
            case "go back":
                self.reader.go_back()
            case _:
                self.reader.begin_anew()

    async def _change(self, step: Step) -> None:
        name, a, b, user_id, tag_id, text = step
        arguments = (a, b, user_id, tag_id, text)
        if name in CALLS:
            await self.owner.send(CALLS[name](*arguments))
        elif name in FILES:
            file, options = FILES[name](*arguments)
            await self.files.import_file(file, await self._confirm(file, options))
        elif name == "accept":
            await self._accept(user_id)
        else:
            file, options = FILES["import members"](*arguments)
            await self.files.finish(file, options)

    async def _confirm(self, file: bytes, options: Options) -> Options:
        """Return the options with as many removals as a dry run counts."""
        dry = Options(mode=options.mode, dry_run=True)
        outcome = await self.files.import_file(file, dry)
        removed = outcome.responses[-1].summary.removed
        return Options(mode=options.mode, confirmed_removals=removed)

    async def _accept(self, user_id: str) -> None:
        """Have a member accept an invitation, of which identity tells."""
        if (await self.owner.get_member(user_id)).state == directory_pb2.MEMBER_STATE_LEFT:
            return
        event = identity_pb2.MemberActivated(
            event_id=new_uuid7(), corp_id=self.owner.corp_id, user_id=user_id
        )
        await publish_event(self.broker, MEMBER_ACTIVATED, self.owner.corp_id, event)

        async def is_noted() -> bool:
            return (await self.owner.get_member(user_id)).HasField("activate_time")

        await eventually(is_noted)


# Each example is a corp of its own and up to 50 calls: too many of them to shrink one in time.
@settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=steps)
@example(steps=[CATCH_UP, *EVERY_CHANGE])
async def test_copy_is_what_the_reads_show(
    make_corp: Callable[[], Awaitable[Corp]],
    channel: grpc.aio.Channel,
    identity_broker: Client,
    directory_pool: Pool,
    steps: list[Step],
) -> None:
    corp = await make_corp()
    owner = Writer(corp.corp_id, channel, corp.tokens.administrator(corp.corp_id, OWNER))
    reader, latecomer = Reader(channel, owner.token), Reader(channel, owner.token)
    scene = Scene(owner, Files(corp, channel), identity_broker, reader)

    for step in (*BEGINNING, *steps):
        await scene.do(step)
    for each in (reader, latecomer):
        while await each.read(page_size=3):
            pass

    members = await owner.send(directory_service_pb2.ListMembersRequest())
    departments = await owner.send(directory_service_pb2.ListDepartmentsRequest())
    tags = await owner.send(tag_service_pb2.ListTagsRequest())
    for department in departments.departments:
        department.ClearField("member_count")
    state = await TableWriter(directory_pool, corp.corp_id).read_state()
    for each in (reader, latecomer):
        assert each.copy.members == {member.user_id: member for member in members.members}
        assert each.copy.departments == {
            department.department_id: department for department in departments.departments
        }
        assert each.copy.tags == {tag.tag_id: tag for tag in tags.tags}
        assert each.copy.state == state
