"""AttributeService: translates between protobuf and the rules, nothing else."""

from tieline.api.directory.v1 import (
    attribute_pb2,
    attribute_service_pb2,
    attribute_service_pb2_grpc,
)
from tieline.chassis.calls import current_principal
from tieline.chassis.fields import check_text, raise_violations
from tieline.chassis.grpc_context import Context
from tieline.chassis.page_tokens import PageTokens, page_size
from tieline.chassis.postgres import Pool
from tieline.directory.attributes import changes as attribute_changes
from tieline.directory.attributes.rules import (
    KINDS,
    MAX_ATTRIBUTES,
    MAX_NAME_CHARACTERS,
    Attribute,
)
from tieline.directory.corp_writes import CorpWrite, written_once
from tieline.directory.departments.rules import MAX_ORDER
from tieline.directory.masks import check_mask
from tieline.directory.repositories import attributes
from tieline.directory.visibility.viewers import Viewers
from tieline.directory.writers import find_writer

_KIND_NAMES = {kind: name for name, kind in KINDS.items()}


class AttributeServicer(attribute_service_pb2_grpc.AttributeServiceServicer):
    """Keeps the attributes of its callers' corps."""

    def __init__(self, pool: Pool, page_tokens: PageTokens, viewers: Viewers) -> None:
        self._pool = pool
        self._page_tokens = page_tokens
        self._viewers = viewers

    async def CreateAttribute(
        self, request: attribute_service_pb2.CreateAttributeRequest, context: Context
    ) -> attribute_service_pb2.CreateAttributeResponse:
        """Add an attribute, at most once per ``request_id``."""
        given = request.attribute
        violations: dict[str, str] = {}
        name = given.name.strip()
        _check_name(name, "attribute.name", violations)
        _check_order(given.order, violations)
        if given.kind not in _KIND_NAMES:
            violations["attribute.kind"] = "must be TEXT, WEB or MINI_PROGRAM"
        raise_violations(violations)
        attribute = Attribute(name, _KIND_NAMES[given.kind], given.order, given.external)

        async def act(write: CorpWrite) -> attribute_service_pb2.CreateAttributeResponse:
            created = await attribute_changes.create_attribute(write, attribute)
            return attribute_service_pb2.CreateAttributeResponse(attribute=_to_attribute(created))

        return await written_once(
            self._pool, self._viewers, request, attribute_service_pb2.CreateAttributeResponse, act
        )

    async def UpdateAttribute(
        self, request: attribute_service_pb2.UpdateAttributeRequest, context: Context
    ) -> attribute_service_pb2.UpdateAttributeResponse:
        """Change an attribute's order or who sees it, at most once per ``request_id``."""
        given = request.attribute
        violations: dict[str, str] = {}
        _check_name(given.name, "attribute.name", violations)
        _check_order(given.order, violations)
        paths = check_mask(request.update_mask, ["order", "external"], "update_mask", violations)
        raise_violations(violations)

        async def act(write: CorpWrite) -> attribute_service_pb2.UpdateAttributeResponse:
            changed = await attribute_changes.update_attribute(
                write,
                given.name,
                order=given.order if "order" in paths else None,
                is_external=given.external if "external" in paths else None,
            )
            return attribute_service_pb2.UpdateAttributeResponse(attribute=_to_attribute(changed))

        return await written_once(
            self._pool, self._viewers, request, attribute_service_pb2.UpdateAttributeResponse, act
        )

    async def DeleteAttribute(
        self, request: attribute_service_pb2.DeleteAttributeRequest, context: Context
    ) -> attribute_service_pb2.DeleteAttributeResponse:
        """Delete an attribute with its values; a repeat goes on where the last one ended."""
        corp_id = current_principal().require_corp(request.corp_id)
        violations: dict[str, str] = {}
        _check_name(request.name, "name", violations)
        raise_violations(violations)
        writer = await find_writer(self._pool, self._viewers, current_principal(), corp_id)
        await attribute_changes.delete_attribute(self._pool, corp_id, request.name, writer)
        return attribute_service_pb2.DeleteAttributeResponse()

    async def ListAttributes(
        self, request: attribute_service_pb2.ListAttributesRequest, context: Context
    ) -> attribute_service_pb2.ListAttributesResponse:
        """List the corp's attributes, the largest order first."""
        corp_id = current_principal().require_corp(request.corp_id)
        size = page_size(request.page_size, default=MAX_ATTRIBUTES, maximum=MAX_ATTRIBUTES)
        position = self._page_tokens.decode(request.page_token, request)
        async with self._pool.acquire() as connection:
            listed = await attributes.list_attributes(connection, corp_id)
        if position is not None:
            after = (-int(position[0]), str(position[1]))
            listed = [each for each in listed if (-each.order, each.name) > after]
        page, next_page_token = self._page_tokens.cut(
            listed, size, request, lambda each: [each.order, each.name]
        )
        return attribute_service_pb2.ListAttributesResponse(
            attributes=map(_to_attribute, page), next_page_token=next_page_token
        )


def _check_name(name: str, field: str, violations: dict[str, str]) -> None:
    check_text(name, field, violations, minimum=1, maximum=MAX_NAME_CHARACTERS)


def _check_order(order: int, violations: dict[str, str]) -> None:
    if not 0 <= order <= MAX_ORDER:
        violations["attribute.order"] = f"must be 0 to {MAX_ORDER}"


def _to_attribute(attribute: Attribute) -> attribute_pb2.Attribute:
    return attribute_pb2.Attribute(
        name=attribute.name,
        kind=KINDS[attribute.kind],
        order=attribute.order,
        external=attribute.is_external,
    )
