"""All SQL of payments: ``ledger`` (accounts, transfers, postings), ``red_packets`` (and shares),
``deleted_corps``.

A repository takes a connection and a corp; the caller owns the transaction. Rows are locked in
this order: red packets by id, then accounts by id.
"""

SCHEMA = "payments"
