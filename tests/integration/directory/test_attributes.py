"""A corp's attributes, over a real channel on a real database."""

from typing import Any

import asyncpg
import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from engines import Database
from fakes.directory_writers import Writer
from tieline.api.directory.v1 import attribute_pb2
from tieline.api.directory.v1 import attribute_service_pb2 as service_pb2
from tieline.directory.attributes import changes as attribute_changes

TEXT = attribute_pb2.ATTRIBUTE_KIND_TEXT


def create_request(name: str, **fields: Any) -> service_pb2.CreateAttributeRequest:
    fields = {"kind": TEXT, **fields}
    return service_pb2.CreateAttributeRequest(
        attribute=attribute_pb2.Attribute(name=name, **fields)
    )


async def list_names(owner: Writer, **fields: Any) -> list[str]:
    response = await owner.send(service_pb2.ListAttributesRequest(**fields))
    return [attribute.name for attribute in response.attributes]


async def test_attributes_are_listed_by_order_and_name_page_by_page(owner: Writer) -> None:
    for name, order in (("b", 1), ("a", 1), ("c", 9)):
        await owner.send(create_request(name, order=order))

    first = await owner.send(service_pb2.ListAttributesRequest(page_size=2))
    rest = await list_names(owner, page_size=2, page_token=first.next_page_token)

    assert [attribute.name for attribute in first.attributes] == ["c", "a"]
    assert rest == ["b"]


async def test_order_and_who_sees_it_can_be_changed(owner: Writer) -> None:
    await owner.send(create_request("Badge", order=3))

    changed = await owner.send(
        service_pb2.UpdateAttributeRequest(
            attribute=attribute_pb2.Attribute(name="Badge", external=True),
            update_mask=FieldMask(paths=["external"]),
        )
    )

    assert changed.attribute == attribute_pb2.Attribute(
        name="Badge", kind=TEXT, order=3, external=True
    )


async def test_twenty_attributes_are_the_limit_and_each_name_is_one_of_them(owner: Writer) -> None:
    for number in range(20):
        await owner.send(create_request(f"a{number}"))

    full = await owner.refused(create_request("one more"))
    taken = await owner.refused(create_request("a7"))

    assert (full.code, full.reason, full.metadata) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "LIMIT_REACHED",
        {"limit": "attributes", "maximum": "20"},
    )
    assert (taken.reason, taken.metadata) == ("ATTRIBUTE_EXISTS", {"name": "a7"})


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        pytest.param(
            create_request(" ", kind=0, order=-1),
            ["attribute.name", "attribute.order", "attribute.kind"],
            id="all wrong",
        ),
        pytest.param(create_request("x" * 33), ["attribute.name"], id="33 characters"),
        pytest.param(
            service_pb2.UpdateAttributeRequest(
                attribute=attribute_pb2.Attribute(name="x"), update_mask=FieldMask(paths=["kind"])
            ),
            ["update_mask"],
            id="another kind",
        ),
        pytest.param(service_pb2.DeleteAttributeRequest(name="\x00"), ["name"], id="NUL"),
    ],
)
async def test_wrong_fields_are_named(owner: Writer, request_: Any, fields: list[str]) -> None:
    error = await owner.refused(request_)

    assert list(error.violations) == fields


async def test_deleted_attribute_takes_its_values_along(
    owner: Writer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attribute_changes, "_CLEARED_AT_ONCE", 2)
    for name in ("Badge", "Desk"):
        await owner.send(create_request(name))
    values = [attribute_pb2.AttributeValue(name=name, text="1") for name in ("Badge", "Desk")]
    before = [
        await owner.create_member(f"u{number}", extended_attributes=values) for number in range(5)
    ]

    await owner.send(service_pb2.DeleteAttributeRequest(name="Badge"))
    error = await owner.refused(service_pb2.DeleteAttributeRequest(name="Badge"))

    for member in before:
        after = await owner.get_member(member.user_id)
        assert [value.name for value in after.extended_attributes] == ["Desk"]
        assert after.etag != member.etag
    assert await list_names(owner) == ["Desk"]
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "ATTRIBUTE_NOT_FOUND")
    connection = await asyncpg.connect(database.dsn("directory"))
    try:
        changed = await connection.fetchval(
            "SELECT count(DISTINCT change_number) FROM directory.members WHERE corp_id = $1",
            owner.corp_id,
        )
    finally:
        await connection.close()
    assert changed == 6


async def test_attribute_of_another_corp_is_not_found(owner: Writer, other_owner: Writer) -> None:
    await other_owner.send(create_request("Theirs"))

    error = await owner.refused(service_pb2.DeleteAttributeRequest(name="Theirs"))

    assert error.reason == "ATTRIBUTE_NOT_FOUND"
    assert await list_names(other_owner) == ["Theirs"]
    assert await list_names(owner) == []
