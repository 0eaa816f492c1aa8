"""Making, reading, moving and deleting departments, over a real channel on a real database."""

import asyncio
from importlib.resources import files as files_of
from typing import Any

import grpc
import pytest

from fakes.directory_corps import Corp, table
from fakes.directory_files import REPLACE_DEPARTMENTS, Files, Options
from fakes.directory_writers import Writer, update_department_request
from tieline.api.directory.v1 import department_service_pb2 as service_pb2
from tieline.api.directory.v1 import directory_pb2
from tieline.chassis.ids import new_uuid7
from tieline.chassis.postgres import Pool
from tieline.directory.departments.rules import MAX_DEPARTMENT_ID
from tieline.directory.new_ids import FAR_AHEAD
from tieline.directory.repositories import corps


def create_request(**fields: Any) -> service_pb2.CreateDepartmentRequest:
    fields = {"name": "East", "parent_department_id": 1, **fields}
    return service_pb2.CreateDepartmentRequest(department=directory_pb2.Department(**fields))


def delete_request(department_id: int, etag: str = "") -> service_pb2.DeleteDepartmentRequest:
    return service_pb2.DeleteDepartmentRequest(department_id=department_id, etag=etag)


async def test_department_is_made_below_its_parent(owner: Writer) -> None:
    east = await owner.create_department("East", name_en="The East", order=7)

    shop = await owner.create_department(" Shop ", east.department_id)

    assert (east.path, list(east.ancestor_ids), east.name_en, east.order) == (
        "East",
        [1, 2],
        "The East",
        7,
    )
    assert (shop.name, shop.path, list(shop.ancestor_ids)) == ("Shop", "East/Shop", [1, 2, 3])
    assert shop == await owner.get_department(shop.department_id)


async def test_given_id_is_kept_and_ids_made_later_are_above_it(owner: Writer) -> None:
    given = await owner.create_department("Given", department_id=500)

    made = await owner.create_department("Made")

    assert (given.department_id, made.department_id) == (500, 501)


async def test_id_that_is_given_far_ahead_leaves_those_that_are_made_where_they_were(
    owner: Writer, corp: Corp, files: Files
) -> None:
    """By a call or a file, and what is exported is imported again."""
    await owner.create_department("Last", department_id=MAX_DEPARTMENT_ID)

    called = await owner.create_department("Made")
    file = table(
        ("Last", str(MAX_DEPARTMENT_ID), "1"), ("Made", "2", "1"),
        ("Far", str(MAX_DEPARTMENT_ID - 1), "1"), ("Near", "7", "1"), header="name,id,parent_id",
    )  # fmt: skip
    await files.import_file(file, Options(mode=REPLACE_DEPARTMENTS))
    await corp.import_file(table(("li", "Li", "By file/Below")))

    ids = {each.path: each.department_id for each in await corp.list_departments()}
    assert called.department_id == 2
    assert (ids["By file"], ids["By file/Below"]) == (8, 9)
    again = await files.import_file(
        await files.export_departments(), Options(mode=REPLACE_DEPARTMENTS)
    )
    assert (again.errors, again.responses[-1].summary.unchanged) == ([], len(ids))


async def test_made_ids_pass_over_those_that_were_given(owner: Writer, corp: Corp) -> None:
    for given in (FAR_AHEAD - 2, FAR_AHEAD, FAR_AHEAD + 2):
        await owner.create_department(f"Given {given}", department_id=given)

    made = [(await owner.create_department(name)).department_id for name in "ab"]
    await corp.import_file(table(("li", "Li", "c/d")))

    ids = {each.path: each.department_id for each in await corp.list_departments()}
    assert [*made, ids["c"], ids["c/d"]] == [FAR_AHEAD + at for at in (-1, 1, 3, 4)]


async def test_corps_whose_ids_were_carried_away_make_them_from_below_again(
    owner: Writer, directory_pool: Pool
) -> None:
    """By the migration; ids of other corps stay where they are."""
    await owner.create_department("Last", department_id=MAX_DEPARTMENT_ID)
    await owner.create_department("Near", department_id=7)
    migration = files_of("tieline.directory.migrations") / "0021_ids_given_far_ahead.sql"
    updates, _, _ = migration.read_text().partition("COMMENT")

    async with directory_pool.acquire() as connection:
        for next_id, expected in ((2**31, (8, 1)), (20, (20, 20))):
            await connection.execute(
                """
                UPDATE directory.corps
                   SET next_department_id = $2, next_tag_id = $2
                 WHERE corp_id = $1
                """,
                owner.corp_id,
                next_id,
            )
            await connection.execute(updates)
            corp = await corps.lock_corp(connection, owner.corp_id)
            assert (corp.next_department_id, corp.next_tag_id) == expected


async def test_request_sent_twice_makes_one_department(owner: Writer) -> None:
    request = create_request()

    first, again = await asyncio.gather(owner.send(request), owner.send(request))
    later = await owner.send(request)

    assert first == again == later
    assert [len(page) for page in await owner.get_subtree()] == [2]


async def test_name_of_a_sibling_is_refused_and_elsewhere_allowed(owner: Writer) -> None:
    east = await owner.create_department("East")

    error = await owner.refused(create_request(name="East"))
    await owner.create_department("East", east.department_id)

    assert (error.code, error.reason) == (grpc.StatusCode.ALREADY_EXISTS, "DEPARTMENT_EXISTS")
    assert error.metadata == {"departmentId": str(east.department_id)}


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        pytest.param({"name": ""}, ["department.name"], id="no name"),
        pytest.param({"name": "x" * 65}, ["department.name"], id="65 characters"),
        pytest.param({"name": "x" * 1_000_000}, ["department.name"], id="1 MB"),
        *(
            pytest.param({"name": f"a{sign}b"}, ["department.name"], id=repr(sign))
            for sign in '\\:*?"<>|/\n\x00'
        ),
        pytest.param({"department_id": 1}, ["department.department_id"], id="the root's id"),
        pytest.param({"department_id": 2**31}, ["department.department_id"], id="2^31"),
        pytest.param({"department_id": -1}, ["department.department_id"], id="negative id"),
        pytest.param({"order": 2**32}, ["department.order"], id="order of 2^32"),
        pytest.param(
            {"parent_department_id": 0, "order": -1, "name_en": "a/b"},
            ["department.name_en", "department.order", "department.parent_department_id"],
            id="three at once",
        ),
        pytest.param({"leader_user_ids": ["boss"]}, ["department.leader_user_ids"], id="leaders"),
    ],
)
async def test_wrong_fields_are_named(
    owner: Writer, fields: dict[str, Any], wrong: list[str]
) -> None:
    error = await owner.refused(create_request(**fields))

    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert list(error.violations) == wrong
    assert [len(page) for page in await owner.get_subtree()] == [1]


async def test_missing_parent_and_taken_id_are_refused(owner: Writer) -> None:
    east = await owner.create_department("East")

    parent = await owner.refused(create_request(parent_department_id=99))
    taken = await owner.refused(create_request(name="West", department_id=east.department_id))

    assert (parent.reason, parent.metadata) == ("DEPARTMENT_NOT_FOUND", {"departmentId": "99"})
    assert taken.reason == "DEPARTMENT_ID_TAKEN"


async def test_fifteen_levels_are_the_limit(owner: Writer) -> None:
    parent = 1
    for level in range(15):
        parent = (await owner.create_department(f"{level}", parent)).department_id

    error = await owner.refused(create_request(parent_department_id=parent))

    assert (error.code, error.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "DEPARTMENT_TOO_DEEP",
    )
    assert error.metadata == {"maximum": "15"}


async def test_moved_department_takes_all_below_it_along(owner: Writer) -> None:
    east, west = await owner.create_department("East"), await owner.create_department("West")
    shop = await owner.create_department("Shop", east.department_id)
    desk = await owner.create_department("Desk", shop.department_id)

    moved = await owner.send(
        update_department_request(
            shop.department_id, name="Store", parent_department_id=west.department_id
        )
    )
    desk_after = await owner.get_department(desk.department_id)

    assert (moved.department.path, list(moved.department.ancestor_ids)) == (
        "West/Store",
        [1, west.department_id, shop.department_id],
    )
    assert (desk_after.path, list(desk_after.ancestor_ids)) == (
        "West/Store/Desk",
        [1, west.department_id, shop.department_id, desk.department_id],
    )
    assert desk_after.etag != desk.etag
    assert desk_after.parent_department_id == shop.department_id


async def test_department_can_be_neither_below_itself_nor_below_its_own(owner: Writer) -> None:
    east = await owner.create_department("East")
    shop = await owner.create_department("Shop", east.department_id)

    for parent in (east, shop):
        error = await owner.refused(
            update_department_request(east.department_id, parent_department_id=parent.department_id)
        )

        assert error.reason == "DEPARTMENT_CYCLE"
    assert (await owner.get_department(shop.department_id)) == shop


async def test_move_is_refused_where_the_deepest_below_it_would_be_too_deep(owner: Writer) -> None:
    chain = 1
    for level in range(10):
        chain = (await owner.create_department(f"c{level}", chain)).department_id
    top = await owner.create_department("top")
    below = top.department_id
    for level in range(5):
        below = (await owner.create_department(f"b{level}", below)).department_id

    error = await owner.refused(
        update_department_request(top.department_id, parent_department_id=chain)
    )

    assert error.reason == "DEPARTMENT_TOO_DEEP"


async def test_move_to_where_the_name_is_taken_is_refused(owner: Writer) -> None:
    east = await owner.create_department("East")
    await owner.create_department("Shop")
    shop = await owner.create_department("Shop", east.department_id)

    error = await owner.refused(
        update_department_request(shop.department_id, parent_department_id=1)
    )

    assert error.reason == "DEPARTMENT_EXISTS"


async def test_root_is_renamed_and_stays_where_it_is(owner: Writer) -> None:
    renamed = await owner.send(update_department_request(1, name="Jinyu Group"))
    moved = await owner.refused(update_department_request(1, parent_department_id=1))
    ordered = await owner.refused(update_department_request(1, order=3))
    deleted = await owner.refused(delete_request(1))

    assert (renamed.department.name, renamed.department.path) == ("Jinyu Group", "")
    assert {moved.reason, ordered.reason, deleted.reason} == {"ROOT_DEPARTMENT"}


async def test_update_at_an_older_etag_is_refused(owner: Writer) -> None:
    east = await owner.create_department("East")
    await owner.send(update_department_request(east.department_id, order=1))

    error = await owner.refused(
        update_department_request(east.department_id, etag=east.etag, order=2)
    )

    assert (error.code, error.reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
    assert (await owner.get_department(east.department_id)).order == 1


@pytest.mark.parametrize("paths", [[], ["path"], ["name", "member_count"]])
async def test_mask_names_what_can_be_changed(owner: Writer, paths: list[str]) -> None:
    request = update_department_request(1, name="New")
    request.update_mask.paths[:] = paths

    error = await owner.refused(request)

    assert list(error.violations) == ["update_mask"]


async def test_department_is_deleted_once_nothing_is_in_it(owner: Writer) -> None:
    east = await owner.create_department("East")
    shop = await owner.create_department("Shop", east.department_id)
    await owner.create_member("li", shop.department_id)

    with_children = await owner.refused(delete_request(east.department_id))
    with_members = await owner.refused(delete_request(shop.department_id))
    await owner.delete_member("li")
    await owner.send(delete_request(shop.department_id))
    await owner.send(delete_request(east.department_id))
    gone = await owner.refused(delete_request(east.department_id))

    assert with_children.reason == "DEPARTMENT_HAS_CHILDREN"
    assert with_members.reason == "DEPARTMENT_HAS_MEMBERS"
    assert (gone.code, gone.reason) == (grpc.StatusCode.NOT_FOUND, "DEPARTMENT_NOT_FOUND")


async def test_leaders_are_members_of_the_department_and_marked_as_such(owner: Writer) -> None:
    east = await owner.create_department("East")
    for user_id in ("li", "wang"):
        await owner.create_member(user_id, east.department_id)

    led = await owner.send(
        update_department_request(east.department_id, leader_user_ids=["Wang", "li"])
    )
    outsider = await owner.refused(
        update_department_request(east.department_id, leader_user_ids=["li", "boss"])
    )
    nobody = await owner.refused(
        update_department_request(east.department_id, leader_user_ids=["nobody"])
    )
    await owner.send(update_department_request(east.department_id, leader_user_ids=["li"]))

    assert list(led.department.leader_user_ids) == ["wang", "li"]
    assert list(outsider.violations) == ["department.leader_user_ids[1]"]
    assert (nobody.reason, nobody.metadata) == ("USER_NOT_FOUND", {"userId": "nobody"})
    assert (await owner.get_member("li")).departments[0].leader
    assert not (await owner.get_member("wang")).departments[0].leader


async def test_subtree_has_each_department_after_its_parent(owner: Writer) -> None:
    east = await owner.create_department("East", order=1)
    west = await owner.create_department("West", order=9)
    shop = await owner.create_department("Shop", east.department_id)

    [whole] = await owner.get_subtree()
    [part] = await owner.get_subtree(east.department_id)

    ids = [1, west.department_id, east.department_id, shop.department_id]
    assert [department.department_id for department in whole] == ids
    assert [department.path for department in part] == ["East", "East/Shop"]


async def test_departments_are_returned_in_the_order_asked_for(owner: Writer) -> None:
    east = await owner.create_department("East")

    found = await owner.send(
        service_pb2.BatchGetDepartmentsRequest(department_ids=[east.department_id, 1])
    )
    error = await owner.refused(service_pb2.BatchGetDepartmentsRequest(department_ids=[1, 77]))
    none = await owner.refused(service_pb2.BatchGetDepartmentsRequest())

    assert [department.department_id for department in found.departments] == [2, 1]
    assert (error.reason, error.metadata) == ("DEPARTMENT_NOT_FOUND", {"departmentId": "77"})
    assert list(none.violations) == ["department_ids"]


async def test_administrator_changes_what_is_in_his_range_and_moves_nothing_out_of_it(
    owner: Writer, corp: Corp
) -> None:
    east, west = await owner.create_department("East"), await owner.create_department("West")
    shop = await owner.create_department("Shop", east.department_id)
    of_east = owner.signed_in_as(
        corp.tokens.limited_administrator(corp.corp_id, departments=[east.department_id])
    )

    desk = await of_east.create_department("Desk", shop.department_id)
    refusals = [
        await of_east.refused(create_request(name="Other", parent_department_id=1)),
        await of_east.refused(update_department_request(west.department_id, name="Mine")),
        await of_east.refused(
            update_department_request(shop.department_id, parent_department_id=west.department_id)
        ),
        await of_east.refused(
            update_department_request(west.department_id, parent_department_id=east.department_id)
        ),
        await of_east.refused(delete_request(west.department_id)),
    ]

    assert list(desk.ancestor_ids) == [1, 2, 4, 5]
    assert {(error.code, error.reason) for error in refusals} == {
        (grpc.StatusCode.PERMISSION_DENIED, "OUT_OF_RANGE")
    }


async def test_member_without_the_right_may_read_and_not_write(owner: Writer, corp: Corp) -> None:
    reader = owner.signed_in_as(corp.tokens.member(corp.corp_id, "reader"))

    error = await reader.refused(create_request())

    assert error.reason == "CALLER_NOT_ALLOWED"
    assert (await reader.get_department(1)).department_id == 1


async def test_department_of_another_corp_is_not_found(owner: Writer, other_owner: Writer) -> None:
    east = await other_owner.create_department("East", department_id=300)

    for request in (
        service_pb2.GetDepartmentRequest(department_id=300),
        update_department_request(300, name="Mine"),
        delete_request(300),
        create_request(parent_department_id=300),
    ):
        error = await owner.refused(request)

        assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "DEPARTMENT_NOT_FOUND")
    assert await other_owner.get_department(300) == east


async def test_request_id_with_other_contents_is_refused(owner: Writer) -> None:
    request = create_request()
    request.request_id = new_uuid7()
    await owner.send(request)
    request.department.name = "West"

    error = await owner.refused(request)

    assert error.reason == "REQUEST_ID_REUSED"
