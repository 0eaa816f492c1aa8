-- What the directory knows of links between corps, from identity's events: one row for each side.
-- Expand only: nothing reads it yet.

CREATE TABLE directory.linked_corps (
    corp_id              text        NOT NULL,
    link_id              text        COLLATE "C" NOT NULL,
    linked_corp_id       text        NOT NULL,
    kind                 text        NOT NULL,
    is_active            boolean     NOT NULL,
    is_upper             boolean     NOT NULL,
    share_scope          text        NOT NULL,
    share_department_ids bigint[]    NOT NULL,
    is_mobile_shared     boolean     NOT NULL,
    is_email_shared      boolean     NOT NULL,
    link_change_number   bigint      NOT NULL,

    CONSTRAINT linked_corps_pkey PRIMARY KEY (corp_id, link_id),
    CONSTRAINT linked_corps_scope
        CHECK (share_scope IN ('nothing', 'departments', 'whole_directory'))
);

COMMENT ON COLUMN directory.linked_corps.is_upper IS 'Whether linked_corp_id is the upper of the two.';
COMMENT ON COLUMN directory.linked_corps.share_scope IS
    'What linked_corp_id lets corp_id see, as are the four columns behind it.';
COMMENT ON COLUMN directory.linked_corps.link_change_number IS
    'Of the change that the row is from: an older one that comes late changes nothing. Links that are over keep their row for that.';
