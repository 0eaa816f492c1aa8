"""No method tells any sort of caller of what is hidden from that caller.

A caller asks everything that there is to ask, about everybody; no text of what is hidden may stand
in any answer, error or page token. What must be shown is `test_no_read_leaks`' to say.
"""

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import grpc
import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from nats.aio.client import Client

from fakes.app_ranges import FakeAppRanges
from fakes.directory_corps import Corp
from fakes.directory_links import Link, Stub
from fakes.directory_requests import Ask, Caller, list_asks, list_services
from fakes.directory_rules import SCOPES, rules
from fakes.directory_secrets import (
    BADGE,
    DIRECT_LEADERS,
    HIDEABLE_FIELDS,
    LEADERS,
    PARENTS,
    PLACES,
    TAG,
    TAGGED_DEPARTMENTS,
    TAGGED_USERS,
    USERS,
    WORLD,
    Sight,
    badge_of,
    fields_of,
    secrets_of,
)
from fakes.directory_writers import Writer, update_department_request
from fakes.identity_corps import FakeIdentityCorps
from fakes.visibility_oracle import Oracle
from tieline.api.directory.v1 import (
    attribute_pb2,
    attribute_service_pb2,
    school_pb2,
    school_service_pb2,
    visibility_pb2,
    visibility_service_pb2,
)
from tieline.api.identity.v1 import app_pb2, corp_link_pb2
from tieline.client.errors import TielineError
from tieline.directory.visibility.decision import CONTACT_FIELDS, EVERYBODY, Rule, RuleKind, Scope
from tieline.directory.visibility.rules import read_rule

# What these answer is no member or department, or what their caller wrote a moment before.
TELL_OF_NOBODY = {
    "AttributeService": "of attributes of the corp, not of their values",
    **dict.fromkeys(
        ["CreateVisibilityRule", "UpdateVisibilityRule", "DeleteVisibilityRule"],
        "to who makes them",
    ),
    "GetVisibilityRule": "as ListVisibilityRules",
    "DeleteTag": "of nothing",
    **dict.fromkeys(["CreateTag", "GetTag"], "of a tag alone"),
    "ListTags": "of tags alone",
    "CreateImportJob": "of the caller's own file",
    **dict.fromkeys(["GetImportJob", "WatchImportJob", "CancelImportJob"], "of a job"),
    "ListImportJobErrors": "of the caller's own file, or to those who see everybody",
    "CreateSchoolDepartment": "to those who manage the school",
    "UpdateSchoolDepartment": "to those who manage the school",
    "DeleteSchoolDepartment": "of nothing",
    **dict.fromkeys(
        [
            *("BatchCreateStudents", "BatchUpdateStudents", "BatchDeleteStudents"),
            *("BatchCreateParents", "BatchUpdateParents", "BatchDeleteParents"),
            *("GetStudent", "ListStudents", "GetParent", "ListClassParents"),
        ],
        "of students and parents, who are no members",
    ),
}

# Why even the owner is refused what can't be done.
REASONS_OF_OWNER = {
    *("USER_EXISTS", "FIELD_TAKEN", "ETAG_MISMATCH", "USER_NOT_FOUND", "TAG_NODES_INVALID"),
    *("DEPARTMENT_HAS_MEMBERS", "ROOT_DEPARTMENT"),
    *("DEPARTMENT_EXISTS", "LINK_NOT_FOUND"),
}

AGENT_IDS = itertools.count(1_000_500)
READ = ("read_directory",)


class Scene(NamedTuple):
    """What is drawn: the rules, the viewer's own place and range, about whom is asked."""

    rules: list[visibility_pb2.VisibilityRule]
    viewer_id: str
    about: str
    scope: Scope
    """An administrator's departments, an app's range, what a link shares."""

    is_whole: bool
    """Whether the range of an app or a link is the corp."""

    mobile_shared: bool
    email_shared: bool


@dataclass
class Filled:
    """The corp, and a link of it."""

    corp: Corp
    link: Link
    owner: Writer
    channel: grpc.aio.Channel
    app_ranges: FakeAppRanges
    rule_ids: list[str] = field(default_factory=list)

    async def set_rules(self, rules: list[visibility_pb2.VisibilityRule]) -> list[Rule]:
        """Put these rules in place of those that there were."""
        for rule_id in self.rule_ids:
            await self.owner.send(
                visibility_service_pb2.DeleteVisibilityRuleRequest(rule_id=rule_id)
            )
        made = [
            await self.owner.send(visibility_service_pb2.CreateVisibilityRuleRequest(rule=rule))
            for rule in rules
        ]
        self.rule_ids = [response.rule.rule_id for response in made]
        return [read_rule(rule.SerializeToString()) for rule in rules]


class Seen(NamedTuple):
    """A viewer, and what that one is to see."""

    token: str
    sight: Sight
    link_id: str = "none"


Viewing = Callable[[Filled, Scene, list[Rule]], Awaitable[Seen]]


async def member(filled: Filled, scene: Scene, rules: list[Rule]) -> Seen:
    token = filled.corp.tokens.member(filled.corp.corp_id, scene.viewer_id)
    return Seen(token, Sight.of(Oracle(WORLD, rules), scene.viewer_id))


async def leader(filled: Filled, scene: Scene, rules: list[Rule]) -> Seen:
    """One who leads a department gets no more for it."""
    leading = sorted(LEADERS.values())[USERS.index(scene.viewer_id) % len(LEADERS)]
    return await member(filled, scene._replace(viewer_id=leading), rules)


async def administrator(filled: Filled, scene: Scene, rules: list[Rule]) -> Seen:
    """One who manages some departments and sees everybody there."""
    full = Scope(department_ids=scene.scope.department_ids or frozenset({sorted(PARENTS)[0]}))
    token = filled.corp.tokens.limited_administrator(
        filled.corp.corp_id, departments=sorted(full.department_ids), user_id=scene.viewer_id
    )
    return Seen(token, Sight.of(Oracle(WORLD, rules, full), scene.viewer_id))


async def other_administrator(filled: Filled, scene: Scene, rules: list[Rule]) -> Seen:
    """One with rights that are not about the directory, and so a member here."""
    token = filled.corp.tokens.limited_administrator(
        filled.corp.corp_id, rights=["manage_sign_in"], user_id=scene.viewer_id
    )
    return Seen(token, Sight.of(Oracle(WORLD, rules), scene.viewer_id))


async def auditor(filled: Filled, scene: Scene, rules: list[Rule]) -> Seen:
    """One who sees everybody."""
    token = filled.corp.tokens.member(filled.corp.corp_id, scene.viewer_id, roles=("auditor",))
    return Seen(token, Sight.of(Oracle(WORLD, []), scene.viewer_id))


def app(*rights: str) -> Viewing:
    """Return an app that was given a range; rules are for people."""

    async def view(filled: Filled, scene: Scene, rules: list[Rule]) -> Seen:
        agent_id, scope = next(AGENT_IDS), scene.scope
        filled.app_ranges.ranges[filled.corp.corp_id, agent_id] = app_pb2.AppRange(
            user_ids=sorted(scope.user_ids),
            department_ids=[1] if scene.is_whole else sorted(scope.department_ids),
            tag_ids=sorted(scope.tag_ids),
        )
        token = filled.corp.tokens.app(filled.corp.corp_id, str(agent_id), rights=(*READ, *rights))
        targets = EVERYBODY if scene.is_whole else scope
        oracle = Oracle(WORLD, [Rule(RuleKind.SEES_ONLY, subjects=EVERYBODY, targets=targets)])
        return Seen(token, Sight.of(oracle, "", () if rights else CONTACT_FIELDS))

    return view


async def partner(filled: Filled, scene: Scene, rules: list[Rule]) -> Seen:
    """A member of a linked corp."""
    link = filled.link
    scopes = corp_link_pb2.CorpLinkShareScope
    shown = Sight.of(Oracle(WORLD, rules), "").departments
    await link.share(
        corp_link_pb2.CorpLinkShare(
            scope=scopes.Value("CORP_LINK_SHARE_SCOPE_WHOLE_DIRECTORY")
            if scene.is_whole
            else scopes.Value("CORP_LINK_SHARE_SCOPE_DEPARTMENTS"),
            department_ids=[] if scene.is_whole else _shared(scene),
            mobile_shared=scene.mobile_shared,
            email_shared=scene.email_shared,
        ),
        [] if scene.is_whole else sorted(shown & set(_shared(scene))),
    )
    return Seen(link.token, _sight_of_partner(scene, rules), link.link_id)


async def linked_app(filled: Filled, scene: Scene, rules: list[Rule]) -> Seen:
    """An app of a linked corp, which is let in."""
    seen = await partner(filled, scene, rules)
    upper, lower = filled.link.corps
    token = upper.tokens.linked_app(upper.corp_id, lower.corp_id, seen.link_id, rights=READ)
    return seen._replace(token=token)


def _shared(scene: Scene) -> list[int]:
    return sorted(scene.scope.department_ids) or sorted(PARENTS)[:1]


def _sight_of_partner(scene: Scene, rules: list[Rule]) -> Sight:
    """Return what both the share and the rules for everybody show."""
    withheld = set(HIDEABLE_FIELDS) - {"alias", "position", "mobile", "email"}
    if not scene.mobile_shared:
        withheld.add("mobile")
    if not scene.email_shared:
        withheld.add("email")
    sight = Sight.of(Oracle(WORLD, rules), "", withheld)
    shared = {
        each
        for each in sight.departments
        if scene.is_whole or WORLD.ancestors(each) & set(_shared(scene))
    }
    hidden = {
        user_id: fields for user_id, fields in sight.hidden.items() if shared & set(PLACES[user_id])
    }
    return Sight(hidden, frozenset(shared), is_partner=True)


VIEWERS: dict[str, Viewing] = {
    "member": member,
    "leader": leader,
    "administrator of departments": administrator,
    "administrator of something else": other_administrator,
    "auditor": auditor,
    "app": app(),
    "app with contact details": app("read_contact_details"),
    "managing app": app("manage_directory"),
    "member of a linked corp": partner,
    "app of a linked corp": linked_app,
}


def test_every_method_of_the_directory_is_asked_or_tells_of_nobody() -> None:
    asked = {
        request.DESCRIPTOR.name.removesuffix("Request")
        for ask in list_asks(USERS[0], "link")
        for request in ask.requests
    }
    known = asked | TELL_OF_NOBODY.keys()

    missing = {
        method.name
        for service in list_services()
        for method in service.methods
        if service.name not in known and method.name not in known
    }
    assert missing == set()


@pytest.fixture(scope="module")
async def filled(
    channel: grpc.aio.Channel,
    make_corp: Callable[[], Awaitable[Corp]],
    identity_broker: Client,
    identity_corps: FakeIdentityCorps,
    app_ranges: FakeAppRanges,
) -> Filled:
    """A corp with everything in every field, and another that it has a link with."""
    corp = await make_corp()
    owner = Writer(corp.corp_id, channel, corp.tokens.administrator(corp.corp_id, "boss"))
    for number, parent in PARENTS.items():
        await owner.create_department(f"Dept-{number}", parent, department_id=number)
    badge = attribute_pb2.Attribute(name=BADGE, kind=attribute_pb2.ATTRIBUTE_KIND_TEXT)
    await owner.send(attribute_service_pb2.CreateAttributeRequest(attribute=badge))
    for user_id, place in PLACES.items():
        await owner.create_member(user_id, *place, **fields_of(user_id))
    for user_id, above in DIRECT_LEADERS.items():
        await owner.update_member(user_id, direct_leader_user_id=above)
    for department_id, user_id in LEADERS.items():
        await owner.send(update_department_request(department_id, leader_user_ids=[user_id]))
    await owner.create_tag("Tag", TAG)
    await owner.add_to_tag(TAG, sorted(TAGGED_USERS), sorted(TAGGED_DEPARTMENTS))
    await _add_school(Caller(channel, owner.token))
    link = Link(Stub(channel), identity_broker, upper=corp, lower=await make_corp())
    return Filled(corp, link, owner, channel, app_ranges)


async def _add_school(owner: Caller) -> None:
    """Make a grade that everybody leads."""
    kind = school_pb2.SCHOOL_ADMINISTRATOR_KIND_GRADE_LEADER
    request = school_service_pb2.CreateSchoolDepartmentRequest(
        request_id="3a1c7f0e-0000-4000-8000-000000000001",
        department=school_pb2.SchoolDepartment(
            kind=school_pb2.SCHOOL_DEPARTMENT_KIND_GRADE,
            name="Grade",
            parent_department_id=1,
            administrators=[
                school_pb2.SchoolAdministrator(user_id=user_id, kind=kind) for user_id in USERS
            ],
        ),
    )
    [made] = await owner.ask(request)
    assert not isinstance(made, TielineError), made


_USERS = st.sampled_from(USERS)
scenes = st.builds(
    Scene,
    rules=st.lists(rules(), max_size=3),
    viewer_id=_USERS,
    about=_USERS,
    scope=SCOPES,
    is_whole=st.booleans(),
    mobile_shared=st.booleans(),
    email_shared=st.booleans(),
)


async def ask_everything(filled: Filled, viewing: Viewing, scene: Scene) -> None:
    """Ask all that there is as the viewer, and check every answer."""
    seen = await viewing(filled, scene, await filled.set_rules(scene.rules))
    caller = Caller(filled.channel, seen.token)
    for ask in list_asks(scene.about, seen.link_id):
        answers = await caller.ask(*ask.requests)
        seen.sight.check(ask.requests[-1], answers)
        if ask.by & seen.sight.hidden.get(scene.about, HIDEABLE_FIELDS):
            _check_not_found(ask, answers, scene.about)


def _check_not_found(ask: Ask, answers: list[Message | TielineError], user_id: str) -> None:
    """Check that nobody was found by a value that the caller does not get."""
    for answer in answers:
        # Whose number it is, is asked in the number: the id alone is an answer.
        told = [] if isinstance(answer, TielineError) else str(answer).split('"')
        assert user_id not in told, f"{ask.requests[0].DESCRIPTOR.name} finds {user_id}"


@pytest.mark.parametrize("kind", VIEWERS)
@settings(
    max_examples=3,
    deadline=None,
    # To shrink takes hundreds of examples, of some 100 calls each.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(scene=scenes)
async def test_nobody_is_told_of_what_is_hidden(filled: Filled, kind: str, scene: Scene) -> None:
    await ask_everything(filled, VIEWERS[kind], scene)


@pytest.mark.parametrize("kind", VIEWERS)
async def test_no_field_that_is_hidden_from_everybody_is_told(filled: Filled, kind: str) -> None:
    everybody = visibility_pb2.VisibilityScope(everybody=True)
    numbers = [number for number in visibility_pb2.HideableField.values() if number]
    rule = visibility_pb2.VisibilityRule(
        display_name="All fields",
        kind=visibility_pb2.VISIBILITY_RULE_KIND_HIDES_FIELDS,
        subjects=everybody,
        targets=everybody,
        fields=numbers,
    )
    scope = Scope(department_ids=frozenset(sorted(PARENTS)[:1]), tag_ids=frozenset({TAG}))

    await ask_everything(
        filled, VIEWERS[kind], Scene([rule], "anna", "cleo", scope, True, True, True)
    )


async def test_owner_is_told_everything(filled: Filled) -> None:
    await filled.set_rules([])
    told, reasons = "", set[str]()

    for ask in list_asks("cleo", "none"):
        for answer in await Caller(filled.channel, filled.owner.token).ask(*ask.requests):
            if isinstance(answer, TielineError):
                reasons.add(answer.reason)
            told += str(answer)

    assert reasons == REASONS_OF_OWNER
    for user_id in USERS:
        for text in (user_id, badge_of(user_id), *secrets_of(user_id).values()):
            assert text in told
