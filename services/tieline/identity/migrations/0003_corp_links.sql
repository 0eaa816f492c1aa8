-- Links between corps. Each link has two rows, one under each corp, so that a corp's links are
-- found and kept with the corp; both are written in one transaction. What one side shares stands in
-- that side's row alone. Expand only: nothing reads these yet.

CREATE TABLE identity.corp_links (
    corp_id              text        NOT NULL,
    link_id              uuid        NOT NULL,
    partner_corp_id      text        NOT NULL,
    kind                 text        NOT NULL,
    is_upper             boolean     NOT NULL,
    state                text        NOT NULL,
    share_scope          text        NOT NULL,
    share_department_ids bigint[]    NOT NULL,
    share_mobile         boolean     NOT NULL,
    share_email          boolean     NOT NULL,
    change_number        bigint      NOT NULL DEFAULT 0,
    create_time          timestamptz NOT NULL DEFAULT now(),
    update_time          timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT corp_links_pkey PRIMARY KEY (corp_id, link_id),
    CONSTRAINT corp_links_corp FOREIGN KEY (corp_id) REFERENCES identity.corps (corp_id),
    CONSTRAINT corp_links_two_corps CHECK (corp_id <> partner_corp_id),
    CONSTRAINT corp_links_kind CHECK (kind IN ('group', 'upstream_downstream', 'bureau_school')),
    CONSTRAINT corp_links_state CHECK (state IN ('invited', 'active', 'declined', 'left')),
    CONSTRAINT corp_links_share_scope
        CHECK (share_scope IN ('nothing', 'departments', 'whole_directory'))
);

COMMENT ON COLUMN identity.corp_links.is_upper IS 'Whether this row''s corp is the one that invited.';
COMMENT ON COLUMN identity.corp_links.state IS 'The same in both rows.';
COMMENT ON COLUMN identity.corp_links.change_number IS
    'The link''s etag: one more with each change, the same in both rows.';

-- Two corps have one open link of a kind at most, whichever of them invited.
CREATE UNIQUE INDEX corp_links_open ON identity.corp_links (corp_id, partner_corp_id, kind)
    WHERE state IN ('invited', 'active');
-- ListCorpLinks, the newest first.
CREATE INDEX corp_links_by_create_time ON identity.corp_links (corp_id, create_time, link_id);
