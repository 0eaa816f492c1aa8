-- The directory's own picture of the corps, and each corp's departments and members.
-- Expand only: nothing reads these yet.

-- Corps, as identity's events tell of them.
CREATE TABLE directory.corps (
    corp_id            text        NOT NULL,
    next_department_id bigint      NOT NULL DEFAULT 2,
    create_time        timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT corps_pkey PRIMARY KEY (corp_id)
);

COMMENT ON TABLE directory.corps IS
    'Whoever writes a corp''s departments or members holds the lock of its row, so that imports at the same time wait for each other instead of deadlocking.';
COMMENT ON COLUMN directory.corps.next_department_id IS
    'The root is 1; ids are given in order and never again.';

-- The tree of departments.
CREATE TABLE directory.departments (
    corp_id              text   NOT NULL,
    department_id        bigint NOT NULL,
    parent_department_id bigint,
    name                 text   NOT NULL,
    path                 text   NOT NULL,

    CONSTRAINT departments_pkey PRIMARY KEY (corp_id, department_id),
    -- Also finds the departments that an import names.
    CONSTRAINT departments_path_key UNIQUE (corp_id, path),
    CONSTRAINT departments_corp FOREIGN KEY (corp_id) REFERENCES directory.corps (corp_id),
    CONSTRAINT departments_parent FOREIGN KEY (corp_id, parent_department_id)
        REFERENCES directory.departments (corp_id, department_id),
    CONSTRAINT departments_one_root
        CHECK ((parent_department_id IS NULL) = (department_id = 1) AND (path = '') = (department_id = 1))
);

COMMENT ON COLUMN directory.departments.parent_department_id IS 'NULL for the root alone.';
COMMENT ON COLUMN directory.departments.path IS
    'Names from the root''s child down to this one, joined by /; empty for the root.';

-- The people of each corp.
CREATE TABLE directory.members (
    corp_id       text        NOT NULL,
    user_id       text        COLLATE "C" NOT NULL,
    name          text        NOT NULL,
    name_folded   text        COLLATE "C" NOT NULL,
    department_id bigint      NOT NULL,
    position      text        NOT NULL DEFAULT '',
    mobile        text        NOT NULL DEFAULT '',
    email         text        NOT NULL DEFAULT '',
    import_id     text        NOT NULL DEFAULT '',
    import_line   bigint      NOT NULL DEFAULT 0,
    create_time   timestamptz NOT NULL DEFAULT now(),
    update_time   timestamptz NOT NULL DEFAULT now(),

    -- With the folded name, so that SearchMembers reads the index alone.
    CONSTRAINT members_pkey PRIMARY KEY (corp_id, user_id) INCLUDE (name_folded),
    CONSTRAINT members_department FOREIGN KEY (corp_id, department_id)
        REFERENCES directory.departments (corp_id, department_id),
    CONSTRAINT members_user_id_folded CHECK (user_id = lower(user_id))
);

COMMENT ON COLUMN directory.members.user_id IS
    'In lower case. Code-point order, so that pages are the same on every machine.';
COMMENT ON COLUMN directory.members.name_folded IS
    'The name without differences of case, folded by members.fold: what a search compares.';
COMMENT ON COLUMN directory.members.position IS 'Empty if unknown, as are mobile and email.';
COMMENT ON COLUMN directory.members.import_id IS
    'The import that wrote the row last; tells a user id that one file holds twice. Empty if none.';
COMMENT ON COLUMN directory.members.import_line IS 'The line of that import''s file.';

-- The net under import_batches.plan_batch, and how it finds who has a number or an address.
CREATE UNIQUE INDEX members_mobile_key ON directory.members (corp_id, mobile) WHERE mobile <> '';
CREATE UNIQUE INDEX members_email_key ON directory.members (corp_id, lower(email))
    WHERE email <> '';

-- ListMembers of one department, and ListDepartments' counts.
CREATE INDEX members_by_department ON directory.members (corp_id, department_id, user_id);
