-- From when on a key signs. Expand only: code that does not know the column leaves it NULL, which
-- means the key's create_time, as that code has it.

ALTER TABLE identity.signing_keys ADD COLUMN sign_time timestamptz;

COMMENT ON COLUMN identity.signing_keys.sign_time IS
    'The key with the latest sign_time that has come signs. A later one is published only; earlier ones are published until what they signed has expired. NULL: create_time.';
