"""The double-entry rules: what a transfer posts to its two accounts. Pure.

Every transfer takes an amount from one account and gives it to another, so that all postings of a
corp sum to 0 at any time. Only ``bank``, the world outside, may go below zero: it is minus what the
platform holds for the corp.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import chain

from tieline.chassis.errors import FailedPreconditionError
from tieline.chassis.principals import PrincipalKind

CURRENCY_CODE = "CNY"

BANK_ACCOUNT_ID = "bank"
CORP_ACCOUNT_ID = "corp"


class TransferKind(StrEnum):
    """Why money moves; the values stand in tables."""

    DEPOSIT = "deposit"
    RED_PACKET_CREATED = "red_packet_created"
    RED_PACKET_OPENED = "red_packet_opened"


@dataclass(frozen=True, slots=True)
class Transfer:
    """An amount on its way from one account to another."""

    transfer_id: str
    kind: TransferKind
    business_key: str
    """What the transfer pays for. Unique per corp and kind: nothing is ever paid twice."""

    debit_account_id: str
    """The account that gives."""

    credit_account_id: str
    """The account that receives."""

    amount_minor: int
    """From 1 up."""

    reference: str = ""
    """The bank's reference of a deposit."""


@dataclass(frozen=True, slots=True)
class Account:
    """What an account holds, and how many postings made it so."""

    account_id: str
    balance_minor: int = 0
    posting_count: int = 0


@dataclass(frozen=True, slots=True)
class Posting:
    """One side of a transfer."""

    transfer_id: str
    account_id: str
    position: int
    """1, 2, 3, ... in the account."""

    amount_minor: int
    """Negative for the account that gives."""

    balance_after_minor: int


def red_packet_account_id(red_packet_id: str) -> str:
    """Return the account that holds what is left of a red packet."""
    return f"red_packet:{red_packet_id}"


def principal_account_id(kind: PrincipalKind, principal_id: str) -> str:
    """Return the account of a member or customer."""
    return f"{kind}:{principal_id}"


def account_kind(account_id: str) -> str:
    """Return the kind of an account, which its id begins with."""
    return account_id.partition(":")[0]


def touched_account_ids(transfers: Iterable[Transfer]) -> list[str]:
    """Return the accounts of the transfers in the order in which they are locked."""
    sides = ((transfer.debit_account_id, transfer.credit_account_id) for transfer in transfers)
    return sorted(set(chain.from_iterable(sides)))


def post_transfers(
    accounts: Mapping[str, Account], transfers: Iterable[Transfer]
) -> tuple[list[Posting], dict[str, Account]]:
    """Return the postings of the transfers, one after the other, and the accounts after them.

    Raises FailedPreconditionError INSUFFICIENT_FUNDS, for all of them, when one is not covered.
    """
    after = dict(accounts)
    postings = []
    for transfer in transfers:
        assert transfer.amount_minor > 0, "a transfer moves something"
        assert transfer.debit_account_id != transfer.credit_account_id, "a transfer has two sides"
        _check_funds(after[transfer.debit_account_id], transfer.amount_minor)
        for account_id, amount_minor in (
            (transfer.debit_account_id, -transfer.amount_minor),
            (transfer.credit_account_id, transfer.amount_minor),
        ):
            account = _post(after[account_id], amount_minor)
            after[account_id] = account
            postings.append(
                Posting(
                    transfer.transfer_id,
                    account_id,
                    account.posting_count,
                    amount_minor,
                    account.balance_minor,
                )
            )
    return postings, after


def corp_deleted_error(corp_id: str) -> FailedPreconditionError:
    """Return the error for money of a corp that is gone."""
    return FailedPreconditionError(
        "CORP_DELETED",
        f"corp {corp_id} was deleted: nothing can be paid in, sent or opened any more",
        {"corpId": corp_id},
    )


def _check_funds(account: Account, amount_minor: int) -> None:
    if account.account_id != BANK_ACCOUNT_ID and account.balance_minor < amount_minor:
        raise FailedPreconditionError(
            "INSUFFICIENT_FUNDS",
            f"the account holds {account.balance_minor}, less than {amount_minor}",
            {"balanceMinor": str(account.balance_minor), "amountMinor": str(amount_minor)},
        )


def _post(account: Account, amount_minor: int) -> Account:
    return replace(
        account,
        balance_minor=account.balance_minor + amount_minor,
        posting_count=account.posting_count + 1,
    )
