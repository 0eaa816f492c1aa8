"""All SQL of identity, a module per noun.

Every function takes a connection: the caller owns the transaction. The database's time orders.
Strings that come from outside are checked before they get here: PostgreSQL takes no NUL.
"""

SCHEMA = "identity"
