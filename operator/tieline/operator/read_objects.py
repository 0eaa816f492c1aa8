"""Policies, windows and overrides, read from their objects, or why they can not be. Pure."""

from dataclasses import dataclass

from tieline.operator.policy import (
    SurgeOverride,
    SurgePolicy,
    override_from_spec,
    policy_from_spec,
)
from tieline.operator.resources import Body, Meta, list_in, mapping_in, read_meta
from tieline.operator.spec_fields import InvalidSpecError
from tieline.operator.windows import SurgeWindow, window_from_spec


@dataclass(frozen=True, slots=True)
class Read:
    """A window or an override that was read, or why it could not be."""

    meta: Meta
    status: Body
    window: SurgeWindow | None = None
    override: SurgeOverride | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ReadPolicy:
    """A policy that was read, or why it could not be."""

    meta: Meta
    status: Body
    policy: SurgePolicy | None
    problem: str


def read_policy(body: Body) -> ReadPolicy:
    """Read a policy."""
    meta, status = read_meta(body), mapping_in(body, "status")
    try:
        return ReadPolicy(meta, status, policy_from_spec(mapping_in(body, "spec")), "")
    except InvalidSpecError as error:
        return ReadPolicy(meta, status, None, str(error))


def read_window(body: Body) -> Read:
    """Read a window."""
    meta, status = read_meta(body), mapping_in(body, "status")
    try:
        window = window_from_spec(meta.name, mapping_in(body, "spec"))
    except InvalidSpecError as error:
        return Read(meta, status, problem=str(error))
    return Read(meta, status, window=window)


def read_override(body: Body) -> Read:
    """Read an override."""
    meta, status = read_meta(body), mapping_in(body, "status")
    try:
        override = override_from_spec(meta.name, mapping_in(body, "spec"), meta.create_time)
    except InvalidSpecError as error:
        return Read(meta, status, problem=str(error))
    return Read(meta, status, override=override)


def told_conflict(status: Body) -> str:
    """Return what a policy's status tells of a conflict over its target; empty for none."""
    return next(
        (
            str(each.get("message"))
            for each in list_in(status, "conditions")
            if (each.get("type"), each.get("status")) == ("TargetConflict", "True")
        ),
        "",
    )
