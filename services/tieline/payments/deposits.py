"""The rules of deposits. Pure."""

from dataclasses import dataclass

from tieline.chassis.fields import check_text, raise_violations
from tieline.chassis.ids import new_uuid7
from tieline.payments.ledger import BANK_ACCOUNT_ID, CORP_ACCOUNT_ID, Transfer, TransferKind
from tieline.payments.red_packets import check_currency

# 100 billion yuan. 900,000 of them fit into the 64 bits of a balance.
MAX_DEPOSIT_MINOR = 10**13

MAX_BANK_REFERENCE_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Deposit:
    """Money of a corp that arrived at the platform's bank."""

    amount_minor: int
    currency_code: str
    bank_reference: str


def check_deposit(deposit: Deposit) -> None:
    """Refuse a deposit that breaks a limit; an error names all of them."""
    violations: dict[str, str] = {}
    if not 1 <= deposit.amount_minor <= MAX_DEPOSIT_MINOR:
        violations["amount_minor"] = f"must be from 1 to {MAX_DEPOSIT_MINOR}"
    check_currency(deposit.currency_code, violations)
    reference = deposit.bank_reference
    check_text(
        reference, "bank_reference", violations, minimum=1, maximum=MAX_BANK_REFERENCE_LENGTH
    )
    raise_violations(violations)


def build_deposit_transfer(deposit: Deposit, business_key: str) -> Transfer:
    """Build the transfer that brings a deposit into the ledger."""
    return Transfer(
        transfer_id=new_uuid7(),
        kind=TransferKind.DEPOSIT,
        business_key=business_key,
        debit_account_id=BANK_ACCOUNT_ID,
        credit_account_id=CORP_ACCOUNT_ID,
        amount_minor=deposit.amount_minor,
        reference=deposit.bank_reference,
    )
