-- Administrators and auditors. The owner stands in identity.corps. Expand only: nothing reads this
-- yet; the role 'administrator' of identity.accounts, which nothing ever gave, has no rights.

CREATE TABLE identity.role_grants (
    corp_id         text        NOT NULL,
    user_id         text        NOT NULL,
    role            text        NOT NULL,
    rights          text[]      NOT NULL,
    department_ids  bigint[]    NOT NULL,
    granter_user_id text        NOT NULL,
    grant_time      timestamptz NOT NULL DEFAULT clock_timestamp(),

    CONSTRAINT role_grants_pkey PRIMARY KEY (corp_id, user_id, role),
    CONSTRAINT role_grants_corp FOREIGN KEY (corp_id) REFERENCES identity.corps (corp_id),
    CONSTRAINT role_grants_role CHECK (role IN ('administrator', 'auditor')),
    CONSTRAINT role_grants_user_id_folded CHECK (user_id = lower(user_id))
);

COMMENT ON COLUMN identity.role_grants.rights IS 'Names of tieline.api.common.v1.Right in lower case.';
COMMENT ON COLUMN identity.role_grants.department_ids IS 'Empty for the whole corp.';
COMMENT ON COLUMN identity.role_grants.grant_time IS
    'When it was granted as it is now; in microseconds also the grant''s etag, so that one that was revoked and granted again is another.';
