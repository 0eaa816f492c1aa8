"""Whom a corp lets in by what: first factors, and of whom a second one is asked for. Pure."""

from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from tieline.chassis.principals import Principal


class Requirement(StrEnum):
    """Of whom; the values stand in tables."""

    NONE = "none"
    ADMINISTRATORS = "administrators"
    EVERYONE = "everyone"


@dataclass(frozen=True, slots=True)
class Proof:
    """A first factor that somebody has shown."""

    method: str
    """As the audit log calls it."""

    is_weak: bool = False
    """Whether an administrator of the corp could have arranged it, by changing a member's number
    or setting a provider up."""

    is_provider: bool = False


BY_PASSWORD = Proof("password")
BY_INVITATION = Proof("invitation")
BY_CODE = Proof("code", is_weak=True)
BY_PROVIDERS_CLAIM = Proof("provider", is_weak=True, is_provider=True)
BY_LINKED_ACCOUNT = Proof("provider", is_provider=True)
"""A link is the member's own word."""


class Entry(Enum):
    """What a first factor opens."""

    SESSION = auto()
    CHALLENGE = auto()
    """The second factor is asked for, or must be enrolled."""

    NOTHING = auto()


@dataclass(frozen=True, slots=True)
class SignInPolicy:
    """How the members of a corp may sign in; the defaults hold where none was set."""

    requirement: Requirement = Requirement.NONE
    provider_counts_as_second_factor: bool = False
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

    def decide_entry(self, member: Principal, proof: Proof, *, is_enrolled: bool) -> Entry:
        """Decide what the proof opens to the member, who has an authenticator or not.

        Whoever is in charge of anything needs one for a weak proof, whatever the policy says:
        otherwise one administrator could become another, an auditor or the owner.
        """
        if proof.is_weak and member.roles:
            return Entry.CHALLENGE if is_enrolled else Entry.NOTHING
        if proof.is_provider and self.provider_counts_as_second_factor:
            return Entry.SESSION
        if is_enrolled or self.requires_second_factor(member):
            return Entry.CHALLENGE
        return Entry.SESSION


def build_platform_policy(*, requires_second_factor: bool) -> SignInPolicy:
    """Return the policy for platform administrators, which the deployment's settings say."""
    return SignInPolicy(Requirement.EVERYONE if requires_second_factor else Requirement.NONE)
