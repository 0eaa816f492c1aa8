-- What a department, a member and a tag have in full, and the number of each one's last change.
-- Expand only: what was there keeps its meaning; every new column has a default.

ALTER TABLE directory.corps ADD COLUMN last_change_number bigint NOT NULL DEFAULT 0;

COMMENT ON COLUMN directory.corps.last_change_number IS
    'Given in order to whatever changes, by whoever holds this row''s lock: a reader who has seen the changes up to a number has missed none before it.';

ALTER TABLE directory.departments
    ADD COLUMN name_en          text        NOT NULL DEFAULT '',
    ADD COLUMN department_order bigint      NOT NULL DEFAULT 0,
    ADD COLUMN ancestor_ids     bigint[]    NOT NULL DEFAULT '{}',
    ADD COLUMN change_number    bigint      NOT NULL DEFAULT 0,
    ADD COLUMN create_time      timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN update_time      timestamptz NOT NULL DEFAULT now();

COMMENT ON COLUMN directory.departments.ancestor_ids IS
    'Ids from the root down to this department itself.';
COMMENT ON COLUMN directory.departments.change_number IS
    'Of the department''s last change; also its etag.';

WITH RECURSIVE tree AS (
    SELECT corp_id, department_id, ARRAY[department_id] AS ancestor_ids
      FROM directory.departments
     WHERE parent_department_id IS NULL
     UNION ALL
    SELECT child.corp_id, child.department_id, tree.ancestor_ids || child.department_id
      FROM directory.departments AS child
      JOIN tree ON child.corp_id = tree.corp_id AND child.parent_department_id = tree.department_id
)
UPDATE directory.departments
   SET ancestor_ids = tree.ancestor_ids
  FROM tree
 WHERE departments.corp_id = tree.corp_id AND departments.department_id = tree.department_id;

-- Several leaders, in an order.
CREATE TABLE directory.department_leaders (
    corp_id       text   NOT NULL,
    department_id bigint NOT NULL,
    user_id       text   COLLATE "C" NOT NULL,
    leader_order  bigint NOT NULL,

    CONSTRAINT department_leaders_pkey PRIMARY KEY (corp_id, department_id, user_id),
    CONSTRAINT department_leaders_department FOREIGN KEY (corp_id, department_id)
        REFERENCES directory.departments (corp_id, department_id) ON DELETE CASCADE,
    CONSTRAINT department_leaders_member FOREIGN KEY (corp_id, user_id)
        REFERENCES directory.members (corp_id, user_id)
);

CREATE INDEX department_leaders_by_member ON directory.department_leaders (corp_id, user_id);

ALTER TABLE directory.members
    ADD COLUMN alias               text   NOT NULL DEFAULT '',
    ADD COLUMN gender              text   NOT NULL DEFAULT 'unknown',
    ADD COLUMN telephone           text   NOT NULL DEFAULT '',
    ADD COLUMN biz_email           text   NOT NULL DEFAULT '',
    ADD COLUMN address             text   NOT NULL DEFAULT '',
    ADD COLUMN avatar_media_id     text   NOT NULL DEFAULT '',
    ADD COLUMN direct_leader       text   COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN external_position   text   NOT NULL DEFAULT '',
    ADD COLUMN external_profile    bytea  NOT NULL DEFAULT '',
    ADD COLUMN extended_attributes jsonb  NOT NULL DEFAULT '{}',
    ADD COLUMN state               text   NOT NULL DEFAULT 'invited',
    ADD COLUMN leave_time          timestamptz,
    ADD COLUMN change_number       bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT members_gender CHECK (gender IN ('unknown', 'male', 'female')) NOT VALID,
    ADD CONSTRAINT members_state
        CHECK (state IN ('invited', 'active', 'disabled', 'left')) NOT VALID,
    ADD CONSTRAINT members_left_has_time
        CHECK ((state = 'left') = (leave_time IS NOT NULL)) NOT VALID;

COMMENT ON COLUMN directory.members.department_id IS 'The main department.';
COMMENT ON COLUMN directory.members.direct_leader IS 'User id; empty if none.';
COMMENT ON COLUMN directory.members.external_profile IS
    'What customers see: a serialized ExternalProfile.';
COMMENT ON COLUMN directory.members.extended_attributes IS
    'Values by the names of the corp''s attribute schema.';
COMMENT ON COLUMN directory.members.state IS
    'A member who left keeps the row: what others wrote of the user id stays readable, and it is not given to somebody else unnoticed.';
COMMENT ON COLUMN directory.members.change_number IS 'Of the member''s last change; also the etag.';

-- Each department of a member, the main one included.
CREATE TABLE directory.member_departments (
    corp_id       text    NOT NULL,
    user_id       text    COLLATE "C" NOT NULL,
    department_id bigint  NOT NULL,
    member_order  bigint  NOT NULL DEFAULT 0,
    is_leader     boolean NOT NULL DEFAULT false,

    CONSTRAINT member_departments_pkey PRIMARY KEY (corp_id, user_id, department_id),
    CONSTRAINT member_departments_member FOREIGN KEY (corp_id, user_id)
        REFERENCES directory.members (corp_id, user_id) ON DELETE CASCADE,
    CONSTRAINT member_departments_department FOREIGN KEY (corp_id, department_id)
        REFERENCES directory.departments (corp_id, department_id)
);

CREATE INDEX member_departments_by_department
    ON directory.member_departments (corp_id, department_id, user_id);

INSERT INTO directory.member_departments (corp_id, user_id, department_id)
SELECT corp_id, user_id, department_id FROM directory.members;

-- The schema of a corp's extended attributes.
CREATE TABLE directory.attributes (
    corp_id         text    NOT NULL,
    name            text    NOT NULL,
    kind            text    NOT NULL,
    attribute_order bigint  NOT NULL DEFAULT 0,
    is_external     boolean NOT NULL DEFAULT false,

    CONSTRAINT attributes_pkey PRIMARY KEY (corp_id, name),
    CONSTRAINT attributes_corp FOREIGN KEY (corp_id) REFERENCES directory.corps (corp_id),
    CONSTRAINT attributes_kind CHECK (kind IN ('text', 'web', 'mini_program'))
);

COMMENT ON COLUMN directory.attributes.is_external IS 'Whether customers see it.';

-- Tags of members and departments.
CREATE TABLE directory.tags (
    corp_id       text        NOT NULL,
    tag_id        bigint      NOT NULL,
    name          text        NOT NULL,
    app_id        text        NOT NULL DEFAULT '',
    change_number bigint      NOT NULL DEFAULT 0,
    create_time   timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT tags_pkey PRIMARY KEY (corp_id, tag_id),
    CONSTRAINT tags_name_key UNIQUE (corp_id, name),
    CONSTRAINT tags_corp FOREIGN KEY (corp_id) REFERENCES directory.corps (corp_id)
);

COMMENT ON COLUMN directory.tags.app_id IS
    'The app that made it, which alone may change it; empty for one made by an administrator.';

CREATE TABLE directory.tag_members (
    corp_id       text   NOT NULL,
    tag_id        bigint NOT NULL,
    user_id       text   COLLATE "C" NOT NULL,
    change_number bigint NOT NULL,

    CONSTRAINT tag_members_pkey PRIMARY KEY (corp_id, tag_id, user_id),
    CONSTRAINT tag_members_tag FOREIGN KEY (corp_id, tag_id)
        REFERENCES directory.tags (corp_id, tag_id) ON DELETE CASCADE,
    CONSTRAINT tag_members_member FOREIGN KEY (corp_id, user_id)
        REFERENCES directory.members (corp_id, user_id) ON DELETE CASCADE
);

CREATE INDEX tag_members_by_member ON directory.tag_members (corp_id, user_id);

CREATE TABLE directory.tag_departments (
    corp_id       text   NOT NULL,
    tag_id        bigint NOT NULL,
    department_id bigint NOT NULL,
    change_number bigint NOT NULL,

    CONSTRAINT tag_departments_pkey PRIMARY KEY (corp_id, tag_id, department_id),
    CONSTRAINT tag_departments_tag FOREIGN KEY (corp_id, tag_id)
        REFERENCES directory.tags (corp_id, tag_id) ON DELETE CASCADE,
    CONSTRAINT tag_departments_department FOREIGN KEY (corp_id, department_id)
        REFERENCES directory.departments (corp_id, department_id) ON DELETE CASCADE
);

CREATE INDEX tag_departments_by_department ON directory.tag_departments (corp_id, department_id);

-- What is gone: the feed of changes tells of it until it is purged.
CREATE TABLE directory.removals (
    corp_id       text        NOT NULL,
    change_number bigint      NOT NULL,
    kind          text        NOT NULL,
    resource_id   text        COLLATE "C" NOT NULL,
    remove_time   timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT removals_pkey PRIMARY KEY (corp_id, change_number),
    CONSTRAINT removals_corp FOREIGN KEY (corp_id) REFERENCES directory.corps (corp_id),
    CONSTRAINT removals_kind
        CHECK (kind IN ('member', 'department', 'tag', 'tag_member', 'tag_department'))
);

COMMENT ON COLUMN directory.removals.resource_id IS
    'Of the removed; of a tag''s member or department, tag id and its id with a / between.';

-- The feed: what changed since a number, in the order of the changes.
CREATE INDEX members_by_change ON directory.members (corp_id, change_number);
CREATE INDEX departments_by_change ON directory.departments (corp_id, change_number);
CREATE INDEX tags_by_change ON directory.tags (corp_id, change_number);
CREATE INDEX tag_members_by_change ON directory.tag_members (corp_id, change_number);
CREATE INDEX tag_departments_by_change ON directory.tag_departments (corp_id, change_number);
