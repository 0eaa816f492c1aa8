"""What each first factor opens to whom."""

from dataclasses import replace

import pytest

from tieline.chassis.principals import (
    ADMINISTRATOR_ROLE,
    AUDITOR_ROLE,
    OWNER_ROLE,
    Principal,
    PrincipalKind,
)
from tieline.identity.sign_in.policies import (
    BY_CODE,
    BY_INVITATION,
    BY_LINKED_ACCOUNT,
    BY_PASSWORD,
    BY_PROVIDERS_CLAIM,
    Entry,
    Proof,
    Requirement,
    SignInPolicy,
)

MEMBER = Principal(PrincipalKind.MEMBER, "li.wei", "ww1", "")
SESSION, CHALLENGE, NOTHING = Entry.SESSION, Entry.CHALLENGE, Entry.NOTHING
EVERYONE = SignInPolicy(Requirement.EVERYONE)
TRUSTING = SignInPolicy(Requirement.EVERYONE, provider_counts_as_second_factor=True)


@pytest.mark.parametrize("role", [OWNER_ROLE, ADMINISTRATOR_ROLE, AUDITOR_ROLE])
@pytest.mark.parametrize("policy", [SignInPolicy(), EVERYONE, TRUSTING])
@pytest.mark.parametrize("proof", [BY_CODE, BY_PROVIDERS_CLAIM])
def test_who_is_in_charge_needs_an_authenticator_for_a_weak_proof(
    role: str, policy: SignInPolicy, proof: Proof
) -> None:
    in_charge = replace(MEMBER, roles=frozenset({role}))

    assert policy.decide_entry(in_charge, proof, is_enrolled=False) is NOTHING
    assert policy.decide_entry(in_charge, proof, is_enrolled=True) is CHALLENGE


@pytest.mark.parametrize(
    ("proof", "policy", "is_enrolled", "entry"),
    [
        (BY_PASSWORD, SignInPolicy(), False, SESSION),
        (BY_PASSWORD, SignInPolicy(), True, CHALLENGE),
        (BY_PASSWORD, EVERYONE, False, CHALLENGE),
        (BY_PASSWORD, TRUSTING, False, CHALLENGE),
        (BY_INVITATION, EVERYONE, False, CHALLENGE),
        (BY_CODE, SignInPolicy(), False, SESSION),
        (BY_CODE, TRUSTING, False, CHALLENGE),
        (BY_PROVIDERS_CLAIM, SignInPolicy(), False, SESSION),
        (BY_PROVIDERS_CLAIM, SignInPolicy(), True, CHALLENGE),
        (BY_PROVIDERS_CLAIM, EVERYONE, False, CHALLENGE),
        (BY_PROVIDERS_CLAIM, TRUSTING, False, SESSION),
        (BY_PROVIDERS_CLAIM, TRUSTING, True, SESSION),
        (BY_LINKED_ACCOUNT, EVERYONE, False, CHALLENGE),
        (BY_LINKED_ACCOUNT, TRUSTING, True, SESSION),
    ],
)
def test_a_member_without_a_role_is_asked_as_the_policy_says(
    proof: Proof, policy: SignInPolicy, is_enrolled: bool, entry: Entry
) -> None:
    assert policy.decide_entry(MEMBER, proof, is_enrolled=is_enrolled) is entry


def test_a_link_is_the_own_word_of_who_is_in_charge() -> None:
    owner = replace(MEMBER, roles=frozenset({OWNER_ROLE}))
    policy = SignInPolicy(Requirement.ADMINISTRATORS)

    assert SignInPolicy().decide_entry(owner, BY_LINKED_ACCOUNT, is_enrolled=False) is SESSION
    assert policy.decide_entry(owner, BY_LINKED_ACCOUNT, is_enrolled=False) is CHALLENGE
