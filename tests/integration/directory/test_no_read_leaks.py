"""Every read of the directory against the rules: nobody gets what they let nobody see.

A method that is not known here fails the first test: it must say how it reads, or that it writes.
"""

import importlib
import pkgutil
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import ServiceDescriptor

from fakes.directory_corps import Corp
from fakes.directory_writers import Writer, update_department_request
from fakes.visibility_oracle import Oracle, World
from tieline.api.directory import v1
from tieline.api.directory.v1 import (
    department_service_pb2,
    directory_pb2,
    directory_service_pb2,
    member_service_pb2,
    visibility_pb2,
    visibility_service_pb2,
)
from tieline.client.errors import TielineError
from tieline.directory.members.rules import member_key
from tieline.directory.visibility.rules import FIELD_NAMES, read_rule

# Services of which no method shows members to somebody who does not see the whole corp.
OTHER_SERVICES = {
    "ChangeService": "for those alone who see the whole corp",
    "ExportService": "for administrators of the whole corp alone",
    "ImportService": "tells of jobs, to administrators",
    "LinkedCorpService": "shows what another corp shares",
    "SchoolService": "students and parents are no members",
}


def list_services() -> Iterator[ServiceDescriptor]:
    """Yield every service of the directory, whoever adds one."""
    for module in pkgutil.iter_modules(v1.__path__):
        if module.name.endswith("_service_pb2"):
            found = importlib.import_module(f"{v1.__name__}.{module.name}")
            yield from found.DESCRIPTOR.services_by_name.values()


# They change something, tell of no person, or are for those who set the rules.
NOT_READS = {
    "AttributeService": {"CreateAttribute", "UpdateAttribute", "DeleteAttribute", "ListAttributes"},
    "DepartmentService": {"CreateDepartment", "UpdateDepartment", "DeleteDepartment"},
    "DirectoryService": {"ImportMembers"},
    "MemberService": {
        "CreateMember",
        "UpdateMember",
        "BatchUpdateMembers",
        "DeleteMember",
        "BatchDeleteMembers",
        "DisableMember",
        "EnableMember",
    },
    "TagService": {
        *("CreateTag", "UpdateTag", "DeleteTag", "GetTag", "ListTags"),
        *("AddTagMembers", "RemoveTagMembers"),
    },
    "VisibilityService": {
        method.name
        for method in visibility_service_pb2.DESCRIPTOR.services_by_name[
            "VisibilityService"
        ].methods
    },
}

# Parents of departments 2 to 7; the root is 1.
PARENTS = {2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 3}
PLACES = {
    "anna": (2,),
    "bert": (4, 3),
    "cleo": (5,),
    "dora": (6,),
    "emil": (7, 2),
    "fred": (1,),
    "boss": (1,),
}
USERS = tuple(PLACES)
TAGGED_USERS = {1: frozenset({"bert", "fred"})}
TAGGED_DEPARTMENTS = {1: frozenset({5})}
MOBILES = {user_id: f"1380000{number:04d}" for number, user_id in enumerate(USERS)}
WORLD = World(
    PARENTS,
    {user_id: frozenset(place) for user_id, place in PLACES.items()},
    TAGGED_USERS,
    TAGGED_DEPARTMENTS,
)

# Of whom numbers are looked up; more would use the day's allowance of a caller up.
LOOKED_UP = ("bert", "dora")

PAGE_SIZE = 2

Read = Callable[[Writer, "Expected"], Awaitable[None]]


class Expected:
    """What one viewer must get."""

    def __init__(self, oracle: Oracle, viewer_id: str) -> None:
        self.users = {user_id for user_id in USERS if oracle.sees(viewer_id, user_id)}
        self.departments = {
            number for number in (1, *PARENTS) if oracle.shows_department(viewer_id, number)
        }
        self.hidden = {user_id: oracle.hidden_fields(viewer_id, user_id) for user_id in USERS}

    def check(self, members: Sequence[directory_pb2.Member], among: set[str]) -> None:
        """Check that these are the members of ``among`` who are seen, as they are seen."""
        assert {member.user_id for member in members} == among & self.users
        for member in members:
            user_id = member.user_id
            places = {at.department_id for at in member.departments}
            assert places == set(PLACES[user_id]) & self.departments
            assert member.department_id in {0, *places}
            for name in ("mobile", "position"):
                assert bool(getattr(member, name)) is (name not in self.hidden[user_id])
            assert member.direct_leader_user_id in {"", *self.users}

    def check_departments(self, departments: Sequence[directory_pb2.Department]) -> None:
        for department in departments:
            assert set(department.leader_user_ids) <= self.users


async def get_members(reader: Writer, expected: Expected) -> None:
    for user_id in USERS:
        found = await unless_not_found(
            reader, directory_service_pb2.GetMemberRequest(user_id=user_id), "USER_NOT_FOUND"
        )
        expected.check([] if found is None else [found.member], {user_id})


async def batch_get_members(reader: Writer, expected: Expected) -> None:
    request = directory_service_pb2.BatchGetMembersRequest(user_ids=sorted(expected.users))
    if expected.users:
        expected.check((await reader.send(request)).members, set(USERS))
    for user_id in sorted(set(USERS) - expected.users)[:1]:
        request = directory_service_pb2.BatchGetMembersRequest(user_ids=[user_id])
        assert await unless_not_found(reader, request, "USER_NOT_FOUND") is None


async def search_members(reader: Writer, expected: Expected) -> None:
    for query in ("em", "anna", "dept", "1380000", "engineer", "desk."):
        by_field = {"1380000": "mobile", "engineer": "position", "desk.": "biz_email"}.get(query)
        among = {
            user_id
            for user_id in USERS
            if (by_field is not None and by_field not in expected.hidden[user_id])
            or (query in ("em", "anna") and user_id.startswith(query))
            or (query == "dept" and set(PLACES[user_id]) & expected.departments - {1})
        }
        pages = await read_pages(reader, directory_service_pb2.SearchMembersRequest(query=query))
        expected.check([member for page in pages for member in page], among)
        # A page that is not full has no other behind it: a gap would tell of who is hidden.
        assert all(len(page) == PAGE_SIZE for page in pages[:-1])
        assert pages[-1] or len(pages) == 1


async def list_members(reader: Writer, expected: Expected) -> None:
    expected.check(await read_all(reader, directory_service_pb2.ListMembersRequest()), set(USERS))
    for department_id in (1, *PARENTS):
        for below in (False, True):
            request = directory_service_pb2.ListMembersRequest(
                department_id=department_id, fetch_children=below
            )
            if department_id not in expected.departments:
                assert await unless_not_found(reader, request, "DEPARTMENT_NOT_FOUND") is None
                continue
            inside = {
                number
                for number in expected.departments
                if number == department_id or (below and department_id in WORLD.ancestors(number))
            }
            among = {user_id for user_id in USERS if set(PLACES[user_id]) & inside}
            expected.check(await read_all(reader, request), among)


async def list_departments(reader: Writer, expected: Expected) -> None:
    request = directory_service_pb2.ListDepartmentsRequest()
    found = (await reader.send(request)).departments
    assert {department.department_id for department in found} == expected.departments
    expected.check_departments(found)


async def get_departments(reader: Writer, expected: Expected) -> None:
    for department_id in (1, *PARENTS):
        request = department_service_pb2.GetDepartmentRequest(department_id=department_id)
        found = await unless_not_found(reader, request, "DEPARTMENT_NOT_FOUND")
        assert (found is not None) is (department_id in expected.departments)


async def batch_get_departments(reader: Writer, expected: Expected) -> None:
    for department_id in (1, *PARENTS):
        request = department_service_pb2.BatchGetDepartmentsRequest(department_ids=[department_id])
        found = await unless_not_found(reader, request, "DEPARTMENT_NOT_FOUND")
        assert (found is not None) is (department_id in expected.departments)
        expected.check_departments([] if found is None else found.departments)


async def get_subtree(reader: Writer, expected: Expected) -> None:
    try:
        found = [each for page in await reader.get_subtree() for each in page]
    except TielineError as error:
        if error.reason != "DEPARTMENT_NOT_FOUND":
            raise
        found = []
    assert {department.department_id for department in found} == expected.departments
    expected.check_departments(found)


async def list_member_ids(reader: Writer, expected: Expected) -> None:
    response = await reader.send(member_service_pb2.ListMemberIdsRequest())
    assert {(each.user_id, each.department_id) for each in response.member_ids} == {
        (user_id, department_id)
        for user_id in expected.users
        for department_id in PLACES[user_id]
        if department_id in expected.departments
    }


async def get_id_by_mobile(reader: Writer, expected: Expected) -> None:
    for user_id in LOOKED_UP:
        request = member_service_pb2.GetMemberIdByMobileRequest(mobile=MOBILES[user_id])
        found = await unless_not_found(reader, request, "USER_NOT_FOUND")
        is_told = user_id in expected.users and "mobile" not in expected.hidden[user_id]
        assert (found is not None) is is_told


async def get_id_by_email(reader: Writer, expected: Expected) -> None:
    for user_id in LOOKED_UP:
        request = member_service_pb2.GetMemberIdByEmailRequest(email=f"{user_id}@acme.example")
        found = await unless_not_found(reader, request, "USER_NOT_FOUND")
        is_told = user_id in expected.users and "email" not in expected.hidden[user_id]
        assert (found is not None) is is_told


async def list_tag_members(reader: Writer, expected: Expected) -> None:
    department_ids, user_ids = await reader.list_tagged(1)
    assert set(department_ids) == TAGGED_DEPARTMENTS[1] & expected.departments
    assert set(user_ids) == TAGGED_USERS[1] & expected.users


READS: dict[str, Read] = {
    "DirectoryService.GetMember": get_members,
    "DirectoryService.BatchGetMembers": batch_get_members,
    "DirectoryService.SearchMembers": search_members,
    "DirectoryService.ListMembers": list_members,
    "DirectoryService.ListDepartments": list_departments,
    "DepartmentService.GetDepartment": get_departments,
    "DepartmentService.BatchGetDepartments": batch_get_departments,
    "DepartmentService.GetSubtree": get_subtree,
    "MemberService.ListMemberIds": list_member_ids,
    "MemberService.GetMemberIdByMobile": get_id_by_mobile,
    "MemberService.GetMemberIdByEmail": get_id_by_email,
    "TagService.ListTagMembers": list_tag_members,
}


def test_every_method_of_the_directory_is_known_here() -> None:
    def methods() -> Iterator[str]:
        for service in list_services():
            if service.name in OTHER_SERVICES:
                continue
            for method in service.methods:
                if method.name not in NOT_READS.get(service.name, ()):
                    yield f"{service.name}.{method.name}"

    assert set(methods()) == READS.keys()


@pytest.fixture(scope="module")
async def filled(
    start_service: Callable[[str], Awaitable[grpc.aio.Channel]],
    make_corp: Callable[[], Awaitable[Corp]],
) -> tuple[Corp, Writer]:
    """A corp with departments, members in several of them, leaders and a tag."""
    corp = await make_corp()
    owner = Writer(
        corp.corp_id, await start_service("directory"), corp.tokens.administrator(corp.corp_id)
    )
    for number, parent in PARENTS.items():
        await owner.create_department(f"Dept {number}", parent, department_id=number)
    for user_id in USERS:
        fields = {
            "mobile": MOBILES[user_id],
            "email": f"{user_id}@acme.example",
            "biz_email": f"desk.{user_id}@acme.example",
            "position": "Engineer",
        }
        if user_id == "boss":
            await owner.update_member(user_id, **fields)
        else:
            await owner.create_member(user_id, *PLACES[user_id], **fields)
    for user_id, leader in (("anna", "bert"), ("bert", "cleo"), ("cleo", "dora")):
        await owner.update_member(user_id, direct_leader_user_id=leader)
    for department_id, leader in ((4, "bert"), (5, "cleo"), (2, "emil")):
        await owner.send(update_department_request(department_id, leader_user_ids=[leader]))
    await owner.create_tag("Tag", 1)
    await owner.add_to_tag(1, sorted(TAGGED_USERS[1]), sorted(TAGGED_DEPARTMENTS[1]))
    return corp, owner


@pytest.mark.parametrize("seed", range(8))
async def test_no_read_tells_more_than_the_rules_let_be_seen(
    filled: tuple[Corp, Writer], seed: int
) -> None:
    corp, owner = filled
    chance = random.Random(seed)
    listed = await owner.send(visibility_service_pb2.ListVisibilityRulesRequest())
    for rule in listed.rules:
        await owner.send(visibility_service_pb2.DeleteVisibilityRuleRequest(rule_id=rule.rule_id))
    rules = [make_rule(chance) for _ in range(chance.randint(1, 4))]
    for rule in rules:
        await owner.send(visibility_service_pb2.CreateVisibilityRuleRequest(rule=rule))
    oracle = Oracle(WORLD, [read_rule(rule.SerializeToString()) for rule in rules])

    for viewer_id in chance.sample(USERS, 2):
        reader = owner.signed_in_as(corp.tokens.member(corp.corp_id, viewer_id))
        expected = Expected(oracle, viewer_id)
        for read in READS.values():
            await read(reader, expected)
        # As somebody else's report: the same is told to who sets the rules.
        for user_id in USERS:
            told = await owner.send(
                visibility_service_pb2.CheckVisibilityRequest(
                    viewer_user_id=viewer_id, user_id=user_id
                )
            )
            hidden = {FIELD_NAMES[number] for number in told.hidden_fields}
            assert (told.visible, hidden) == (user_id in expected.users, expected.hidden[user_id])
    everything = Expected(Oracle(WORLD, []), "boss")
    await list_members(owner, everything)


def make_rule(chance: random.Random) -> visibility_pb2.VisibilityRule:
    kind = chance.choice(
        [number for number in visibility_pb2.VisibilityRuleKind.values() if number]
    )
    rule = visibility_pb2.VisibilityRule(display_name="Rule", kind=kind)
    is_hidden = kind == visibility_pb2.VISIBILITY_RULE_KIND_HIDDEN
    if not is_hidden:
        fill_scope(chance, rule.subjects, everybody=True)
    if chance.random() < 0.3:
        fill_scope(chance, rule.exceptions, everybody=False)
    fill_scope(chance, rule.targets, everybody=not is_hidden)
    if kind == visibility_pb2.VISIBILITY_RULE_KIND_SEES_ONLY:
        rule.own_departments = chance.random() < 0.5
    if kind == visibility_pb2.VISIBILITY_RULE_KIND_HIDES_FIELDS:
        rule.fields.append(
            chance.choice(
                [
                    visibility_pb2.HIDEABLE_FIELD_MOBILE,
                    visibility_pb2.HIDEABLE_FIELD_EMAIL,
                    visibility_pb2.HIDEABLE_FIELD_BIZ_EMAIL,
                    visibility_pb2.HIDEABLE_FIELD_POSITION,
                ]
            )
        )
    return rule


def fill_scope(
    chance: random.Random, scope: visibility_pb2.VisibilityScope, *, everybody: bool
) -> None:
    match chance.randrange(4 if everybody else 3):
        case 0:
            scope.user_ids.extend(
                sorted(map(member_key, chance.sample(USERS, chance.randint(1, 3))))
            )
        case 1:
            scope.department_ids.append(chance.choice(sorted(PARENTS)))
        case 2:
            scope.tag_ids.append(1)
        case _:
            scope.everybody = True


async def read_all(
    reader: Writer, request: directory_service_pb2.ListMembersRequest
) -> list[directory_pb2.Member]:
    """Return all members."""
    return [member for page in await read_pages(reader, request) for member in page]


async def read_pages(
    reader: Writer,
    request: directory_service_pb2.ListMembersRequest | directory_service_pb2.SearchMembersRequest,
) -> list[list[directory_pb2.Member]]:
    """Return all pages."""
    request.page_size = PAGE_SIZE
    pages: list[list[directory_pb2.Member]] = []
    while True:
        page = await reader.send(request)
        pages.append(list(page.members))
        if not page.next_page_token:
            return pages
        request.page_token = page.next_page_token


async def unless_not_found(reader: Writer, request: Any, reason: str) -> Any:
    """Return the response, None for NOT_FOUND as of what is not there."""
    try:
        return await reader.send(request)
    except TielineError as error:
        if (error.code, error.reason) != (grpc.StatusCode.NOT_FOUND, reason):
            raise
        return None
