"""Of whom a corp requires a second factor. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from tieline.chassis.principals import Principal


class Requirement(StrEnum):
    """Of whom; the values stand in tables."""

    NONE = "none"
    ADMINISTRATORS = "administrators"
    EVERYONE = "everyone"


@dataclass(frozen=True, slots=True)
class SignInPolicy:
    """How the members of a corp may sign in; the defaults hold where none was set."""

    requirement: Requirement = Requirement.NONE
    change_number: int = 0

    def requires_second_factor(self, member: Principal) -> bool:
        """Tell whether this member must have a second factor; who has any role administers."""
        match self.requirement:
            case Requirement.NONE:
                return False
            case Requirement.ADMINISTRATORS:
                return bool(member.roles)
            case Requirement.EVERYONE:
                return True
