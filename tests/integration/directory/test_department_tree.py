"""The tree that PostgreSQL keeps is the one that a simple model has, whatever is done to it."""

from collections.abc import Awaitable, Callable

import grpc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.department_model import (
    DEEP_CHAIN,
    OPERATIONS,
    ROOT,
    Create,
    Delete,
    Model,
    Operation,
    Place,
)
from fakes.directory_corps import Corp
from fakes.directory_writers import Writer, update_department_request
from tieline.api.directory.v1 import department_service_pb2
from tieline.client.errors import TielineError


async def carry_out(owner: Writer, operation: Operation) -> str:
    """Return the reason for which the operation is refused; empty if it is not."""
    try:
        match operation:
            case Create(parent, name):
                await owner.create_department(name, parent)
            case Place(department, parent, name):
                await owner.send(
                    update_department_request(department, parent_department_id=parent, name=name)
                )
            case Delete(department):
                await owner.send(
                    department_service_pb2.DeleteDepartmentRequest(department_id=department)
                )
    except TielineError as error:
        return error.reason
    return ""


# Each example is a corp of its own and up to 55 calls; the pure test runs the many.
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(operations=OPERATIONS, start=st.sampled_from([[], DEEP_CHAIN]))
async def test_stored_tree_is_the_models(
    make_corp: Callable[[], Awaitable[Corp]],
    channel: grpc.aio.Channel,
    operations: list[Operation],
    start: list[Operation],
) -> None:
    corp = await make_corp()
    owner = Writer(corp.corp_id, channel, corp.tokens.administrator(corp.corp_id, "boss"))
    model = Model()

    for operation in [*start, *operations]:
        assert await carry_out(owner, operation) == model.apply(operation), operation

    [stored] = await owner.get_subtree()
    assert {department.department_id for department in stored} == {ROOT, *model.nodes}
    for department in stored[1:]:
        department_id = department.department_id
        assert (department.name, department.parent_department_id) == model.nodes[department_id]
        assert department.path == model.path(department_id)
        assert list(department.ancestor_ids) == model.ancestors(department_id)
    numbers = [department.etag for department in stored]
    assert len(set(numbers)) == len(numbers)
