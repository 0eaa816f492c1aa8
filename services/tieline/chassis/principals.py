"""Who acts, and which corp's data that lets them name. Pure: tokens are read elsewhere."""

import math
import re
from dataclasses import dataclass, field
from enum import StrEnum

from tieline.chassis.errors import InvalidArgumentError, NotFoundError

# Ids of our own making, and those that a corp may bring along from elsewhere.
_CORP_ID_PATTERN = re.compile(r"[0-9A-Za-z_-]{1,64}")

OWNER_ROLE = "owner"
ADMINISTRATOR_ROLE = "administrator"
AUDITOR_ROLE = "auditor"


class PrincipalKind(StrEnum):
    """What sort of party a principal is; the values stand in tokens and tables."""

    PLATFORM_ADMINISTRATOR = "platform_administrator"
    MEMBER = "member"
    CUSTOMER = "customer"
    APP = "app"
    LINKED_APP = "linked_app"
    """An app of another corp, which a link lets in."""


CORP_KINDS = frozenset({PrincipalKind.MEMBER, PrincipalKind.APP, PrincipalKind.LINKED_APP})
"""The kinds that act within one corp."""


@dataclass(frozen=True, slots=True)
class Principal:
    """The verified caller of a request."""

    kind: PrincipalKind
    id: str
    """User id (member), customer id (``wm…``), name (platform administrator), agent id (app)."""

    corp_id: str
    """The member's or app's corp, of a linked app the one that it is let into; empty for the other
    kinds."""

    session_id: str
    roles: frozenset[str] = frozenset()
    display_name: str = ""
    rights: frozenset[str] = frozenset()
    """What an administrator or an app was granted: values of ``authorization.Right``."""

    department_ids: frozenset[int] = frozenset()
    """Where an administrator's rights hold: there and below. Empty for the whole corp."""

    home_corp_id: str = ""
    """The corp that a linked app is of; empty for the other kinds."""

    link_id: str = ""
    """What lets a linked app in; empty for the other kinds."""

    expire_time: float = field(default=math.inf, compare=False)
    """Second since the epoch at which the access token ends; streams end with it."""

    issue_time: float = field(default=math.inf, compare=False)
    """Second since the epoch at which the access token was issued. Infinite for one that no token
    named: it can't be revoked."""

    @property
    def is_corp_administrator(self) -> bool:
        """Whether this is a member who may administer the corp."""
        return self.kind is PrincipalKind.MEMBER and bool(
            self.roles & {OWNER_ROLE, ADMINISTRATOR_ROLE}
        )

    def require_corp(self, corp_id: str) -> str:
        """Return the corp that a request means, or refuse it.

        A member or an app may leave ``corp_id`` empty; naming another corp than the own one says
        NOT_FOUND, so that nobody learns which corps exist. Customers and platform administrators
        belong to no corp and must name one; what can't be a corp's id names none and reaches no
        database.
        """
        if self.kind in CORP_KINDS and corp_id in ("", self.corp_id):
            return self.corp_id
        if not corp_id:
            raise InvalidArgumentError({"corp_id": "must name the corp"})
        if not _CORP_ID_PATTERN.fullmatch(corp_id):
            raise NotFoundError("CORP_NOT_FOUND", "no such corp")
        if self.kind in CORP_KINDS:
            raise NotFoundError("CORP_NOT_FOUND", "no such corp", {"corpId": corp_id})
        return corp_id
