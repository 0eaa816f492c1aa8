"""VisibilityService: translates between protobuf and the rules, nothing else."""

from collections.abc import Mapping

from tieline.api.directory.v1 import (
    visibility_pb2,
    visibility_service_pb2,
    visibility_service_pb2_grpc,
)
from tieline.chassis.audit import record_act
from tieline.chassis.authorization import Resource, Right, require
from tieline.chassis.calls import current_principal
from tieline.chassis.errors import NotFoundError, ResourceExhaustedError
from tieline.chassis.etags import check_etag
from tieline.chassis.fields import check_user_id, is_uuid, raise_violations, to_timestamp
from tieline.chassis.grpc_context import Context
from tieline.chassis.idempotency import answered_once
from tieline.chassis.ids import new_uuid7
from tieline.chassis.page_tokens import PageTokens, page_size
from tieline.chassis.postgres import Connection, Pool
from tieline.directory.departments.rules import department_not_found_error
from tieline.directory.members.rules import member_key, user_not_found_error
from tieline.directory.repositories import SCHEMA
from tieline.directory.repositories import viewers as viewers_repository
from tieline.directory.repositories import visibility_rules as repository
from tieline.directory.repositories.corps import advance_change_number, lock_corp
from tieline.directory.repositories.visibility_rules import StoredRule
from tieline.directory.tags.rules import tag_not_found_error
from tieline.directory.visibility.rules import (
    FIELD_NAMES,
    MAX_RULES,
    SCOPES,
    apply_mask,
    kind_of,
    list_violations,
    normalise,
)
from tieline.directory.visibility.viewers import Viewers


class VisibilityServicer(visibility_service_pb2_grpc.VisibilityServiceServicer):
    """Keeps the rules about who sees whom."""

    def __init__(self, pool: Pool, page_tokens: PageTokens, viewers: Viewers) -> None:
        self._pool = pool
        self._page_tokens = page_tokens
        self._viewers = viewers

    async def CreateVisibilityRule(
        self,
        request: visibility_service_pb2.CreateVisibilityRuleRequest,
        context: Context,
    ) -> visibility_service_pb2.CreateVisibilityRuleResponse:
        """Add a rule, at most once per request id."""
        corp_id = _require_corp(request.corp_id)
        rule = _bare(request.rule)
        raise_violations(list_violations(rule))
        normalise(rule)

        async def act(
            connection: Connection,
        ) -> visibility_service_pb2.CreateVisibilityRuleResponse:
            await lock_corp(connection, corp_id)
            await _check_named(connection, corp_id, rule)
            if await repository.count(connection, corp_id) >= MAX_RULES:
                raise ResourceExhaustedError(
                    "TOO_MANY_VISIBILITY_RULES",
                    f"a corp has at most {MAX_RULES} visibility rules; join or delete some",
                    {"limit": str(MAX_RULES)},
                )
            stored = await _write(connection, corp_id, new_uuid7(), rule)
            await _record(connection, corp_id, "create", stored.rule_id)
            return visibility_service_pb2.CreateVisibilityRuleResponse(rule=_to_proto(stored))

        return await answered_once(
            self._pool,
            SCHEMA,
            request,
            visibility_service_pb2.CreateVisibilityRuleResponse,
            act,
            corp_id=corp_id,
        )

    async def GetVisibilityRule(
        self,
        request: visibility_service_pb2.GetVisibilityRuleRequest,
        context: Context,
    ) -> visibility_service_pb2.GetVisibilityRuleResponse:
        """Return one rule."""
        corp_id = _require_corp(request.corp_id)
        async with self._pool.acquire() as connection:
            stored = await _get(connection, corp_id, request.rule_id)
        return visibility_service_pb2.GetVisibilityRuleResponse(rule=_to_proto(stored))

    async def ListVisibilityRules(
        self,
        request: visibility_service_pb2.ListVisibilityRulesRequest,
        context: Context,
    ) -> visibility_service_pb2.ListVisibilityRulesResponse:
        """List rules, the oldest first."""
        corp_id = _require_corp(request.corp_id)
        size = page_size(request.page_size, default=50, maximum=200)
        position = self._page_tokens.decode(request.page_token, request)
        async with self._pool.acquire() as connection:
            rules = await repository.list_page(
                connection,
                corp_id,
                after_rule_id="" if position is None else str(position[0]),
                limit=size + 1,
            )
        page, next_page_token = self._page_tokens.cut(
            rules, size, request, lambda rule: [rule.rule_id]
        )
        return visibility_service_pb2.ListVisibilityRulesResponse(
            rules=[_to_proto(rule) for rule in page], next_page_token=next_page_token
        )

    async def UpdateVisibilityRule(
        self,
        request: visibility_service_pb2.UpdateVisibilityRuleRequest,
        context: Context,
    ) -> visibility_service_pb2.UpdateVisibilityRuleResponse:
        """Change the masked fields, at most once per request id."""
        corp_id = _require_corp(request.corp_id)

        async def act(
            connection: Connection,
        ) -> visibility_service_pb2.UpdateVisibilityRuleResponse:
            await lock_corp(connection, corp_id)
            stored = await _get(connection, corp_id, request.rule.rule_id)
            check_etag(request.rule.etag, str(stored.change_number))
            rule = visibility_pb2.VisibilityRule.FromString(stored.contents)
            raise_violations(apply_mask(rule, request.rule, request.update_mask))
            raise_violations(list_violations(rule))
            normalise(rule)
            # What it names and was named before may have gone since; it does no harm.
            await _check_named(connection, corp_id, rule, but=stored)
            stored = await _write(connection, corp_id, stored.rule_id, rule)
            fields = ",".join(request.update_mask.paths)
            await _record(connection, corp_id, "update", stored.rule_id, {"fields": fields})
            return visibility_service_pb2.UpdateVisibilityRuleResponse(rule=_to_proto(stored))

        return await answered_once(
            self._pool,
            SCHEMA,
            request,
            visibility_service_pb2.UpdateVisibilityRuleResponse,
            act,
            corp_id=corp_id,
        )

    async def DeleteVisibilityRule(
        self,
        request: visibility_service_pb2.DeleteVisibilityRuleRequest,
        context: Context,
    ) -> visibility_service_pb2.DeleteVisibilityRuleResponse:
        """Remove a rule, at most once per request id."""
        corp_id = _require_corp(request.corp_id)

        async def act(
            connection: Connection,
        ) -> visibility_service_pb2.DeleteVisibilityRuleResponse:
            await lock_corp(connection, corp_id)
            stored = await _get(connection, corp_id, request.rule_id)
            check_etag(request.etag, str(stored.change_number))
            await repository.delete(connection, corp_id, stored.rule_id)
            number = await advance_change_number(connection, corp_id, 1)
            await repository.mark_changed(connection, corp_id, number)
            await _record(connection, corp_id, "delete", stored.rule_id)
            return visibility_service_pb2.DeleteVisibilityRuleResponse()

        return await answered_once(
            self._pool,
            SCHEMA,
            request,
            visibility_service_pb2.DeleteVisibilityRuleResponse,
            act,
            corp_id=corp_id,
        )

    async def CheckVisibility(
        self,
        request: visibility_service_pb2.CheckVisibilityRequest,
        context: Context,
    ) -> visibility_service_pb2.CheckVisibilityResponse:
        """Tell what the rules come to between two members."""
        corp_id = _require_corp(request.corp_id)
        violations: dict[str, str] = {}
        check_user_id(request.viewer_user_id, "viewer_user_id", violations)
        check_user_id(request.user_id, "user_id", violations)
        raise_violations(violations)
        viewer_key, user_key = member_key(request.viewer_user_id), member_key(request.user_id)
        async with self._pool.acquire() as connection:
            places = await viewers_repository.list_departments_of(
                connection, corp_id, [viewer_key, user_key]
            )
            for user_id, key in (
                (request.viewer_user_id, viewer_key),
                (request.user_id, user_key),
            ):
                if key not in places:
                    raise user_not_found_error(user_id)
            viewer = await self._viewers.of_member(viewer_key, corp_id, connection)
        hidden = viewer.list_hidden_fields(user_key, places[user_key])
        return visibility_service_pb2.CheckVisibilityResponse(
            visible=viewer.can_see(user_key, places[user_key]),
            hidden_fields=[number for number, name in FIELD_NAMES.items() if name in hidden],
        )


def _require_corp(corp_id: str) -> str:
    """Return the corp that the request means; rules are for whoever has the right in all of it."""
    principal = current_principal()
    required = principal.require_corp(corp_id)
    require(principal, Right.MANAGE_VISIBILITY, Resource(required))
    return required


def _bare(given: visibility_pb2.VisibilityRule) -> visibility_pb2.VisibilityRule:
    """Leave out what the server makes."""
    rule = visibility_pb2.VisibilityRule()
    rule.CopyFrom(given)
    for name in ("rule_id", "etag", "create_time", "update_time"):
        rule.ClearField(name)
    return rule


async def _get(connection: Connection, corp_id: str, rule_id: str) -> StoredRule:
    # What is no id of ours names nothing, and PostgreSQL takes no NUL.
    stored = await repository.find(connection, corp_id, rule_id) if is_uuid(rule_id) else None
    if stored is None:
        raise NotFoundError(
            "VISIBILITY_RULE_NOT_FOUND", "no such visibility rule", {"ruleId": rule_id}
        )
    return stored


async def _write(
    connection: Connection, corp_id: str, rule_id: str, rule: visibility_pb2.VisibilityRule
) -> StoredRule:
    number = await advance_change_number(connection, corp_id, 1)
    stored = await repository.upsert(
        connection,
        corp_id,
        rule_id,
        display_name=rule.display_name,
        kind=kind_of(rule),
        contents=rule.SerializeToString(deterministic=True),
        change_number=number,
    )
    await repository.mark_changed(connection, corp_id, number)
    return stored


async def _record(
    connection: Connection,
    corp_id: str,
    verb: str,
    rule_id: str,
    details: Mapping[str, str] | None = None,
) -> None:
    await record_act(
        connection,
        SCHEMA,
        corp_id=corp_id,
        action=f"directory.visibility_rule.{verb}",
        resource=f"visibility_rules/{rule_id}",
        details=details,
    )


async def _check_named(
    connection: Connection,
    corp_id: str,
    rule: visibility_pb2.VisibilityRule,
    *,
    but: StoredRule | None = None,
) -> None:
    """Refuse a rule that names what the corp does not have."""
    named = _collect(rule)
    if but is not None:
        known = _collect(visibility_pb2.VisibilityRule.FromString(but.contents))
        named = named - known
    missing = await repository.find_missing(
        connection,
        corp_id,
        [value for kind, value in named if kind == "user_ids" and isinstance(value, str)],
        [value for kind, value in named if kind == "department_ids" and isinstance(value, int)],
        [value for kind, value in named if kind == "tag_ids" and isinstance(value, int)],
    )
    for user_id in sorted(missing.user_ids)[:1]:
        raise user_not_found_error(user_id)
    for department_id in sorted(missing.department_ids)[:1]:
        raise department_not_found_error(department_id)
    for tag_id in sorted(missing.tag_ids)[:1]:
        raise tag_not_found_error(tag_id)


def _collect(rule: visibility_pb2.VisibilityRule) -> set[tuple[str, str | int]]:
    return {
        (field, value)
        for name in SCOPES
        for field in ("user_ids", "department_ids", "tag_ids")
        for value in getattr(getattr(rule, name), field)
    }


def _to_proto(stored: StoredRule) -> visibility_pb2.VisibilityRule:
    rule = visibility_pb2.VisibilityRule.FromString(stored.contents)
    rule.rule_id = stored.rule_id
    rule.etag = str(stored.change_number)
    rule.create_time.CopyFrom(to_timestamp(stored.create_time))
    rule.update_time.CopyFrom(to_timestamp(stored.update_time))
    return rule
