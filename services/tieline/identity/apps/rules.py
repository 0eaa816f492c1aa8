"""The rules of apps. Pure: no clock, no database, no network."""

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tieline.chassis.authorization import GRANTABLE_RIGHTS, Resource, Right, require
from tieline.chassis.errors import NotFoundError, ResourceExhaustedError
from tieline.chassis.fields import check_text, check_user_id, raise_violations
from tieline.chassis.principals import Principal

# The open API's limit (developer.work.weixin.qq.com/document/path/90312).
MAX_APPS = 300

# Where clients of the open API expect the ids of self-built apps to begin.
FIRST_AGENT_ID = 1_000_002

MAX_NAME_LENGTH = 32
MAX_DESCRIPTION_LENGTH = 120

MAX_RANGE_USERS = 1000
MAX_RANGE_DEPARTMENTS = 100
MAX_RANGE_TAGS = 100
_MAX_ID = 2**63 - 1

MAX_OVERLAP = dt.timedelta(days=30)
DEFAULT_OVERLAP = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class AppRange:
    """Whom an app sees."""

    user_ids: Sequence[str] = ()
    department_ids: Sequence[int] = ()
    tag_ids: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class AppFields:
    """What an administrator decides of an app."""

    name: str
    description: str = ""
    rights: frozenset[Right | None] = frozenset()
    """None stands for what is no right or one that this server does not know."""

    visible_range: AppRange = AppRange()
    disabled: bool = False


UPDATABLE_FIELDS = frozenset({"name", "description", "rights", "visible_range", "disabled"})


@dataclass(frozen=True, slots=True)
class App:
    """An app as it is stored."""

    corp_id: str
    agent_id: int
    fields: AppFields
    change_number: int
    create_time: dt.datetime
    update_time: dt.datetime

    @property
    def rights(self) -> frozenset[Right]:
        """What the app was granted."""
        return frozenset(right for right in self.fields.rights if right is not None)


def check_app(fields: AppFields) -> AppFields:
    """Return the fields as they are stored, or refuse them with everything that is wrong."""
    violations: dict[str, str] = {}
    check_text(fields.name, "app.name", violations, minimum=1, maximum=MAX_NAME_LENGTH)
    check_text(
        fields.description, "app.description", violations, minimum=0, maximum=MAX_DESCRIPTION_LENGTH
    )
    if not fields.rights <= GRANTABLE_RIGHTS:
        violations["app.rights"] = "must be rights that an app can be granted"
    visible = fields.visible_range
    stored = AppRange(
        _check_users(visible.user_ids, violations),
        _check_ids(visible.department_ids, "department_ids", MAX_RANGE_DEPARTMENTS, violations),
        _check_ids(visible.tag_ids, "tag_ids", MAX_RANGE_TAGS, violations),
    )
    raise_violations(violations)
    return replace(fields, visible_range=stored)


def update_fields(current: AppFields, given: AppFields, paths: Collection[str]) -> AppFields:
    """Return the current fields with those given that the mask names."""
    if not paths or not UPDATABLE_FIELDS.issuperset(paths):
        known = ", ".join(sorted(UPDATABLE_FIELDS))
        raise_violations({"update_mask": f"must name at least one of {known}, and nothing else"})
    changes: dict[str, Any] = {path: getattr(given, path) for path in paths}
    return replace(current, **changes)


def check_may_grant(principal: Principal, corp_id: str, rights: Iterable[Right]) -> None:
    """Let nobody give an app, or take by an app's secret, more than they have themselves."""
    for right in sorted(rights):
        require(principal, right, Resource(corp_id))


def voids_tokens(before: AppFields, after: AppFields) -> bool:
    """Tell whether tokens that were given before a change must not outlive it.

    Their rights are wrong, or something was taken out of the range: no token says that, but a
    stream that is open goes on with what its caller saw at its beginning.
    """
    return (
        before.rights != after.rights
        or (after.disabled and not before.disabled)
        or _is_narrowed(before.visible_range, after.visible_range)
    )


def _is_narrowed(before: AppRange, after: AppRange) -> bool:
    return not (
        set(before.user_ids) <= set(after.user_ids)
        and set(before.department_ids) <= set(after.department_ids)
        and set(before.tag_ids) <= set(after.tag_ids)
    )


def check_count(apps: int) -> None:
    """Refuse one app more where there are as many as there may be."""
    if apps >= MAX_APPS:
        raise ResourceExhaustedError(
            "APPS_EXHAUSTED", f"the corp has {MAX_APPS} apps: delete one that is not used"
        )


def check_overlap(seconds: float | None) -> dt.timedelta:
    """Return how long a replaced secret stays good."""
    if seconds is None:
        return DEFAULT_OVERLAP
    if not 0 <= seconds <= MAX_OVERLAP.total_seconds():
        raise_violations({"overlap": f"must be 0 to {MAX_OVERLAP.days} days"})
    return dt.timedelta(seconds=seconds)


def app_not_found_error(agent_id: int) -> NotFoundError:
    """Return the error for an app that is not there."""
    return NotFoundError("APP_NOT_FOUND", "no such app", {"agentId": str(agent_id)})


def _check_users(user_ids: Sequence[str], violations: dict[str, str]) -> Sequence[str]:
    field = "app.visible_range.user_ids"
    if len(user_ids) > MAX_RANGE_USERS:
        violations[field] = f"must be at most {MAX_RANGE_USERS}"
        return ()
    for index, user_id in enumerate(user_ids):
        check_user_id(user_id, f"{field}[{index}]", violations)
    # User ids are one regardless of case.
    return sorted({user_id.lower() for user_id in user_ids})


def _check_ids(
    ids: Sequence[int], name: str, maximum: int, violations: dict[str, str]
) -> Sequence[int]:
    field = f"app.visible_range.{name}"
    if len(ids) > maximum:
        violations[field] = f"must be at most {maximum}"
    elif not all(1 <= each <= _MAX_ID for each in ids):
        violations[field] = "must be positive"
    return sorted(set(ids))
