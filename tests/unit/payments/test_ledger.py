"""The double-entry rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.chassis.errors import FailedPreconditionError
from tieline.payments.ledger import (
    Account,
    Transfer,
    TransferKind,
    account_kind,
    post_transfers,
    touched_account_ids,
)

ACCOUNT_IDS = ("bank", "corp", "customer:wm1", "member:li.wei")


def transfer(debit: str, credit: str, amount_minor: int, transfer_id: str = "t1") -> Transfer:
    return Transfer(
        transfer_id, TransferKind.DEPOSIT, f"key of {transfer_id}", debit, credit, amount_minor
    )


def accounts(**balances: int) -> dict[str, Account]:
    return {
        account_id: Account(account_id, balances.get(account_kind(account_id), 0))
        for account_id in ACCOUNT_IDS
    }


def test_transfer_posts_one_side_each_with_the_balance_after_it() -> None:
    postings, after = post_transfers(accounts(corp=100), [transfer("corp", "customer:wm1", 30)])

    assert [(p.account_id, p.amount_minor, p.balance_after_minor) for p in postings] == [
        ("corp", -30, 70),
        ("customer:wm1", 30, 30),
    ]
    assert after["corp"].balance_minor == 70
    assert after["customer:wm1"].balance_minor == 30


def test_postings_of_an_account_are_numbered_on_from_those_that_it_has() -> None:
    before = {**accounts(), "corp": Account("corp", 100, posting_count=7)}

    postings, after = post_transfers(
        before,
        [
            transfer("corp", "customer:wm1", 1, "t1"),
            transfer("corp", "member:li.wei", 1, "t2"),
        ],
    )

    assert [p.position for p in postings if p.account_id == "corp"] == [8, 9]
    assert after["corp"].posting_count == 9


def test_later_transfer_may_spend_what_an_earlier_one_brought() -> None:
    _, after = post_transfers(
        accounts(),
        [transfer("bank", "corp", 50, "t1"), transfer("corp", "customer:wm1", 50, "t2")],
    )

    assert after["customer:wm1"].balance_minor == 50


@pytest.mark.parametrize(
    ("balance_minor", "is_covered"),
    [
        pytest.param(100, True, id="the whole balance"),
        pytest.param(99, False, id="one fen too many"),
        pytest.param(0, False, id="nothing there"),
    ],
)
def test_account_gives_no_more_than_it_holds(balance_minor: int, is_covered: bool) -> None:
    wish = [transfer("corp", "customer:wm1", 100)]

    if is_covered:
        assert post_transfers(accounts(corp=balance_minor), wish)
    else:
        with pytest.raises(FailedPreconditionError) as caught:
            post_transfers(accounts(corp=balance_minor), wish)
        assert caught.value.reason == "INSUFFICIENT_FUNDS"
        assert caught.value.metadata == {
            "balanceMinor": str(balance_minor),
            "amountMinor": "100",
        }


def test_bank_may_go_below_zero() -> None:
    _, after = post_transfers(accounts(), [transfer("bank", "corp", 10**13)])

    assert after["bank"].balance_minor == -(10**13)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(ACCOUNT_IDS), st.sampled_from(ACCOUNT_IDS), st.integers(1, 50)
        ).filter(lambda sides: sides[0] != sides[1]),
        max_size=30,
    )
)
def test_postings_sum_to_zero_and_balances_are_their_sums(
    sides: list[tuple[str, str, int]],
) -> None:
    wishes = [transfer(*side, transfer_id=f"t{number}") for number, side in enumerate(sides)]
    before = accounts(corp=500, customer=500, member=500)

    try:
        postings, after = post_transfers(before, wishes)
    except FailedPreconditionError:
        return

    assert sum(posting.amount_minor for posting in postings) == 0
    for account_id, account in after.items():
        own = [posting for posting in postings if posting.account_id == account_id]
        moved = sum(posting.amount_minor for posting in own)
        assert account.balance_minor == before[account_id].balance_minor + moved
        assert account.balance_minor >= 0 or account_id == "bank"
        assert [posting.position for posting in own] == list(range(1, len(own) + 1))


def test_accounts_are_locked_in_one_order_and_once() -> None:
    wishes = [
        transfer("corp", "bank", 1),
        transfer("bank", "corp", 1),
        transfer("red_packet:b", "member:li.wei", 1),
        transfer("red_packet:a", "member:Li.wei", 1),
    ]

    assert touched_account_ids(wishes) == [
        *("bank", "corp", "member:Li.wei", "member:li.wei", "red_packet:a", "red_packet:b")
    ]


def test_kind_of_an_account_is_what_its_id_begins_with() -> None:
    assert account_kind("bank") == "bank"
    assert account_kind("customer:wm1") == "customer"
