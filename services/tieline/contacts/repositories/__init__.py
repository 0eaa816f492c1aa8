"""All SQL of contacts: ``contacts`` (and customer groups, and ways into both), ``deleted_corps``.

A repository takes a connection; the caller owns the transaction.
"""

SCHEMA = "contacts"
