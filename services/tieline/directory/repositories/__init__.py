"""All SQL of the directory, a module per noun.

Every function takes a connection: the caller owns the transaction. Whoever writes a corp's rows
holds the lock of the corp's row (``corps.lock_corp``) and takes the numbers of the changes there.
"""

SCHEMA = "directory"
