"""Answers whom an app reaches: members by what they have in common, within its visible range."""

from tieline.api.directory.v1 import directory_requests_pb2
from tieline.chassis.errors import InvalidArgumentError
from tieline.chassis.fields import USER_ID_PATTERN, raise_violations
from tieline.chassis.principals import Principal, PrincipalKind
from tieline.directory.members.rules import member_key
from tieline.directory.repositories import audiences, tags
from tieline.directory.repositories.viewers import read_tree
from tieline.directory.visibility.decision import EVERYBODY, Scope, spell_out
from tieline.directory.visibility.viewers import Viewers

# The open API's of one message.
MAX_USER_IDS = 1000
MAX_DEPARTMENT_IDS = 100
MAX_TAG_IDS = 100

MAX_LISTED = 1000


class Audiences:
    """What messaging asks about apps' audiences."""

    def __init__(self, viewers: Viewers) -> None:
        self._viewers = viewers

    async def check(
        self, request: directory_requests_pb2.CheckAudienceRequest
    ) -> directory_requests_pb2.CheckAudienceResponse:
        """Return what of the audience the app can't reach."""
        audience = request.audience
        check_audience(audience)
        keys = {user_id: member_key(user_id) for user_id in audience.user_ids}
        # What can't be a user id is not asked about: some of it PostgreSQL refuses as text.
        askable = [key for key in keys.values() if USER_ID_PATTERN.fullmatch(key)]
        app = build_app(request.corp_id, request.agent_id)
        async with self._viewers.reading(app, request.corp_id) as (connection, viewer):
            reachable = await audiences.filter_reachable(connection, viewer, askable)
            found_tags = await tags.find_tags(connection, request.corp_id, audience.tag_ids)
            departments: frozenset[int] = frozenset()
            if audience.department_ids:
                tree = await read_tree(connection, request.corp_id, ())
                departments = frozenset(tree.ancestor_ids)
        return directory_requests_pb2.CheckAudienceResponse(
            invalid_user_ids=[each for each, key in keys.items() if key not in reachable],
            invalid_department_ids=[
                each
                for each in dict.fromkeys(audience.department_ids)
                if each not in departments or not viewer.can_see_department(each)
            ],
            invalid_tag_ids=[
                each for each in dict.fromkeys(audience.tag_ids) if each not in found_tags
            ],
        )

    async def list_members(
        self, request: directory_requests_pb2.ListAudienceRequest
    ) -> directory_requests_pb2.ListAudienceResponse:
        """Return the next members whom the app reaches."""
        check_audience(request.audience)
        if not 1 <= request.limit <= MAX_LISTED:
            raise InvalidArgumentError({"limit": f"must be 1 to {MAX_LISTED}"})
        scope = read_scope(request.audience)
        app = build_app(request.corp_id, request.agent_id)
        async with self._viewers.reading(app, request.corp_id) as (connection, viewer):
            tree = await read_tree(connection, request.corp_id, scope.tag_ids)
            user_ids = await audiences.list_reachable(
                connection,
                viewer,
                spell_out(scope, tree),
                after=request.after_user_id,
                limit=request.limit,
            )
        return directory_requests_pb2.ListAudienceResponse(user_ids=user_ids)


def check_audience(audience: directory_requests_pb2.Audience) -> None:
    """Refuse an audience that names more than one message may."""
    violations = {
        f"audience.{name}": f"must be at most {maximum}"
        for name, maximum in (
            ("user_ids", MAX_USER_IDS),
            ("department_ids", MAX_DEPARTMENT_IDS),
            ("tag_ids", MAX_TAG_IDS),
        )
        if len(getattr(audience, name)) > maximum
    }
    raise_violations(violations)


def read_scope(audience: directory_requests_pb2.Audience) -> Scope:
    """Return the people that the audience means; what can't be a user id means nobody."""
    if audience.everybody:
        return EVERYBODY
    keys = map(member_key, audience.user_ids)
    return Scope(
        user_ids=frozenset(key for key in keys if USER_ID_PATTERN.fullmatch(key)),
        department_ids=frozenset(audience.department_ids),
        tag_ids=frozenset(audience.tag_ids),
    )


def build_app(corp_id: str, agent_id: str) -> Principal:
    """Return the app as a viewer; InvalidArgumentError for what names none."""
    if not (agent_id.isascii() and agent_id.isdecimal() and len(agent_id) <= 9):
        raise InvalidArgumentError({"agent_id": "must be the id of an app"})
    return Principal(PrincipalKind.APP, agent_id, corp_id, session_id="")
