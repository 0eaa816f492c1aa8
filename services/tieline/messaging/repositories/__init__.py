"""All SQL of messaging, a class per noun. Each takes a connection: the caller owns the transaction.

Locks: a transaction that locks several conversations locks them in the order of their keys.
"""

SCHEMA = "messaging"
