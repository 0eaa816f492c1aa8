"""The calls about who sees whom, and that a change holds from its acknowledgement on."""

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from nats.aio.client import Client

from fakes.app_ranges import FakeAppRanges
from fakes.directory_corps import Corp
from fakes.directory_writers import Writer
from fakes.eventually import eventually
from tieline.api.directory.v1 import directory_service_pb2, visibility_pb2
from tieline.api.directory.v1 import visibility_service_pb2 as service_pb2
from tieline.api.identity.v1 import app_pb2
from tieline.chassis.ids import new_uuid7
from tieline.chassis.message_headers import CORP_ID_HEADER, EVENT_ID_HEADER, KEY_HEADER
from tieline.directory.visibility.rules import MAX_RULES

HIDDEN = visibility_pb2.VISIBILITY_RULE_KIND_HIDDEN
SEES_ONLY = visibility_pb2.VISIBILITY_RULE_KIND_SEES_ONLY
HIDES_FIELDS = visibility_pb2.VISIBILITY_RULE_KIND_HIDES_FIELDS
Scope = visibility_pb2.VisibilityScope
Rule = visibility_pb2.VisibilityRule


def hiding(*user_ids: str, **fields: Any) -> Rule:
    return Rule(display_name="Hidden", kind=HIDDEN, targets=Scope(user_ids=user_ids), **fields)


async def create(owner: Writer, rule: Rule, request_id: str = "") -> Rule:
    request = service_pb2.CreateVisibilityRuleRequest(rule=rule, request_id=request_id)
    response: service_pb2.CreateVisibilityRuleResponse = await owner.send(request)
    return response.rule


async def seen_by(reader: Writer) -> set[str]:
    return set(await reader.list_member_ids())


@pytest.fixture
async def reader(owner: Writer, corp: Corp) -> Writer:
    """A member without any role, beside others."""
    for user_id in ("reader", "anna", "bert"):
        await owner.create_member(user_id, 1, mobile=f"1380000{len(user_id)}{ord(user_id[0])}")
    return owner.signed_in_as(corp.tokens.member(corp.corp_id, "reader"))


async def test_rule_holds_from_its_acknowledgement_on_until_it_is_gone(
    owner: Writer, reader: Writer
) -> None:
    before = await seen_by(reader)
    rule = await create(owner, hiding("ANNA"))
    hidden = await seen_by(reader)
    update = service_pb2.UpdateVisibilityRuleRequest(
        rule=Rule(rule_id=rule.rule_id, targets=Scope(user_ids=["bert"]), etag=rule.etag),
        update_mask=FieldMask(paths=["targets"]),
    )
    updated = (await owner.send(update)).rule
    other_hidden = await seen_by(reader)
    await owner.send(service_pb2.DeleteVisibilityRuleRequest(rule_id=rule.rule_id))

    assert before - hidden == {"anna"}
    assert before - other_hidden == {"bert"}
    assert await seen_by(reader) == before
    assert list(rule.targets.user_ids) == ["anna"]
    assert (updated.display_name, updated.create_time) == ("Hidden", rule.create_time)
    assert updated.etag != rule.etag


async def test_whoever_is_hidden_is_missing_in_the_same_words(
    owner: Writer, reader: Writer
) -> None:
    await create(owner, hiding("anna"))

    refusals = [
        await reader.refused(directory_service_pb2.GetMemberRequest(user_id=user_id))
        for user_id in ("anna", "nobody")
    ]

    assert [(error.code, error.reason) for error in refusals] == [
        (grpc.StatusCode.NOT_FOUND, "USER_NOT_FOUND")
    ] * 2
    assert [error.metadata for error in refusals] == [{"userId": "anna"}, {"userId": "nobody"}]
    assert (await owner.get_member("anna")).user_id == "anna"


async def test_member_is_not_found_by_a_hidden_field(owner: Writer, reader: Writer) -> None:
    await create(
        owner,
        Rule(
            display_name="Numbers",
            kind=HIDES_FIELDS,
            subjects=Scope(everybody=True),
            targets=Scope(user_ids=["anna"]),
            fields=[visibility_pb2.HIDEABLE_FIELD_MOBILE],
        ),
    )
    request = directory_service_pb2.SearchMembersRequest(query="1380000")

    found = [member.user_id for member in (await reader.send(request)).members]

    assert "anna" not in found
    assert "bert" in found
    assert (await reader.get_member("anna")).mobile == ""


async def test_member_who_left_is_hidden_where_departments_are(
    owner: Writer, reader: Writer
) -> None:
    department = await owner.create_department("Secret")
    await owner.create_member("spy", department.department_id)
    await create(
        owner,
        Rule(
            display_name="Secret",
            kind=HIDDEN,
            targets=Scope(department_ids=[department.department_id]),
        ),
    )
    await owner.delete_member("spy")

    error = await reader.refused(directory_service_pb2.GetMemberRequest(user_id="spy"))

    assert error.reason == "USER_NOT_FOUND"


async def test_repeated_creation_makes_one_rule(owner: Writer) -> None:
    request_id = new_uuid7()
    rule = hiding("boss")

    made = await asyncio.gather(*(create(owner, rule, request_id) for _ in range(3)))

    assert len({each.rule_id for each in made}) == 1
    listed = await owner.send(service_pb2.ListVisibilityRulesRequest())
    assert [each.rule_id for each in listed.rules] == [made[0].rule_id]


async def test_rules_are_listed_page_by_page_in_the_order_of_their_making(owner: Writer) -> None:
    made = [(await create(owner, hiding("boss"))).rule_id for _ in range(5)]
    request = service_pb2.ListVisibilityRulesRequest(page_size=2)
    listed = []
    while True:
        page = await owner.send(request)
        listed.append([rule.rule_id for rule in page.rules])
        request.page_token = page.next_page_token
        if not request.page_token:
            break

    assert listed == [made[:2], made[2:4], made[4:]]


async def test_rule_that_changed_meanwhile_is_not_changed(owner: Writer) -> None:
    rule = await create(owner, hiding("boss"))
    for etag, reason in (("1", "ETAG_MISMATCH"), (rule.etag, "")):
        request = service_pb2.DeleteVisibilityRuleRequest(rule_id=rule.rule_id, etag=etag)
        if reason:
            assert (await owner.refused(request)).reason == reason
        else:
            await owner.send(request)

    error = await owner.refused(service_pb2.GetVisibilityRuleRequest(rule_id=rule.rule_id))
    assert error.reason == "VISIBILITY_RULE_NOT_FOUND"


@pytest.mark.parametrize(
    ("rule", "fields"),
    [
        pytest.param(Rule(), ["rule.display_name", "rule.kind"], id="nothing"),
        pytest.param(
            Rule(display_name="x", kind=HIDDEN, subjects=Scope(everybody=True)),
            ["rule.subjects", "rule.targets"],
            id="hidden from some",
        ),
        pytest.param(
            Rule(display_name="x", kind=HIDDEN, targets=Scope(everybody=True)),
            ["rule.targets.everybody"],
            id="everybody hidden",
        ),
        pytest.param(
            Rule(
                display_name="x",
                kind=HIDES_FIELDS,
                subjects=Scope(everybody=True),
                targets=Scope(everybody=True),
                own_departments=True,
            ),
            ["rule.own_departments", "rule.fields"],
            id="no fields",
        ),
        pytest.param(
            Rule(display_name="x", kind=SEES_ONLY, subjects=Scope(user_ids=["", "a\x00"])),
            ["rule.subjects.user_ids[0]", "rule.subjects.user_ids[1]"],
            id="no user ids",
        ),
        pytest.param(
            Rule(display_name="x", kind=SEES_ONLY, subjects=Scope(tag_ids=range(1, 1002))),
            ["rule"],
            id="too many",
        ),
    ],
)
async def test_everything_that_is_wrong_with_a_rule_is_named(
    owner: Writer, rule: Rule, fields: list[str]
) -> None:
    error = await owner.refused(service_pb2.CreateVisibilityRuleRequest(rule=rule))

    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert list(error.violations) == fields


@pytest.mark.parametrize(
    ("targets", "reason"),
    [
        (Scope(user_ids=["boss", "nobody"]), "USER_NOT_FOUND"),
        (Scope(department_ids=[1, 99]), "DEPARTMENT_NOT_FOUND"),
        (Scope(tag_ids=[7]), "TAG_NOT_FOUND"),
    ],
)
async def test_rule_that_names_what_is_not_there_is_refused(
    owner: Writer, targets: Scope, reason: str
) -> None:
    rule = Rule(display_name="x", kind=HIDDEN, targets=targets)

    error = await owner.refused(service_pb2.CreateVisibilityRuleRequest(rule=rule))

    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, reason)


@pytest.mark.parametrize("paths", [[], ["kind"], ["targets", "rule_id"]])
async def test_mask_that_names_what_can_not_be_changed_is_refused(
    owner: Writer, paths: list[str]
) -> None:
    rule = await create(owner, hiding("boss"))
    request = service_pb2.UpdateVisibilityRuleRequest(rule=rule, update_mask=FieldMask(paths=paths))

    assert list((await owner.refused(request)).violations) == ["update_mask"]


async def test_members_and_administrators_of_a_part_may_not_set_rules(
    owner: Writer, reader: Writer, corp: Corp
) -> None:
    limited = owner.signed_in_as(
        corp.tokens.sign(
            {
                "kind": "member",
                "corp": corp.corp_id,
                "sub": "anna",
                "roles": ["administrator"],
                "rights": ["manage_visibility", "manage_directory"],
                "departments": [1],
            }
        )
    )
    request = service_pb2.ListVisibilityRulesRequest()

    assert (await reader.refused(request)).reason == "CALLER_NOT_ALLOWED"
    assert (await limited.refused(request)).reason == "OUT_OF_RANGE"


async def test_corp_has_so_many_rules_at_most(owner: Writer) -> None:
    for _ in range(MAX_RULES):
        await create(owner, hiding("boss"))

    error = await owner.refused(service_pb2.CreateVisibilityRuleRequest(rule=hiding("boss")))

    assert error.reason == "TOO_MANY_VISIBILITY_RULES"
    assert error.metadata == {"limit": str(MAX_RULES)}


async def test_app_sees_its_range_and_the_new_one_once_identity_tells(
    owner: Writer,
    reader: Writer,
    corp: Corp,
    app_ranges: FakeAppRanges,
    identity_broker: Client,
) -> None:
    del reader  # who makes the members
    department = await owner.create_department("East")
    await owner.create_member("east", department.department_id)
    app = owner.signed_in_as(corp.tokens.app(corp.corp_id, "1000002", rights=["read_directory"]))
    app_ranges.ranges[corp.corp_id, 1000002] = app_pb2.AppRange(
        user_ids=["ANNA"], department_ids=[department.department_id]
    )
    first = await seen_by(app)
    asked = app_ranges.asked
    again = await seen_by(app)
    asked_again = app_ranges.asked
    app_ranges.ranges[corp.corp_id, 1000002] = app_pb2.AppRange(user_ids=["bert"])

    await publish_app_changed(identity_broker, corp.corp_id, 1000002)

    async def sees_bert_alone() -> bool:
        return await seen_by(app) == {"bert"}

    await eventually(sees_bert_alone)
    assert first == again == {"anna", "east"}
    assert asked == asked_again


async def publish_app_changed(broker: Client, corp_id: str, agent_id: int) -> None:
    event = app_pb2.AppChanged(
        event_id=new_uuid7(), app=app_pb2.App(corp_id=corp_id, agent_id=agent_id)
    )
    headers = {EVENT_ID_HEADER: event.event_id, CORP_ID_HEADER: corp_id, KEY_HEADER: corp_id}
    await broker.jetstream().publish(
        "tieline.identity.v1.app_changed", event.SerializeToString(), headers=headers
    )
