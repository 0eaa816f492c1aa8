-- Who sees whom, and what members are found by.
-- Expand only: without rules everybody sees everybody, and what finds members is made from them.

ALTER TABLE directory.corps ADD COLUMN visibility_number bigint NOT NULL DEFAULT 0;

COMMENT ON COLUMN directory.corps.visibility_number IS
    'Number of the last change of a visibility rule; 0 for a corp without any, in which a reader need not ask who reads.';

CREATE TABLE directory.visibility_rules (
    corp_id       text        NOT NULL,
    rule_id       text        COLLATE "C" NOT NULL,
    display_name  text        NOT NULL,
    kind          text        NOT NULL,
    contents      bytea       NOT NULL,
    change_number bigint      NOT NULL,
    create_time   timestamptz NOT NULL DEFAULT now(),
    update_time   timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT visibility_rules_pkey PRIMARY KEY (corp_id, rule_id),
    CONSTRAINT visibility_rules_corp FOREIGN KEY (corp_id) REFERENCES directory.corps (corp_id),
    CONSTRAINT visibility_rules_kind
        CHECK (kind IN ('sees_only', 'does_not_see', 'hidden', 'hides_fields'))
);

COMMENT ON COLUMN directory.visibility_rules.rule_id IS 'UUIDv7, so that ids are in the order in which rules were made.';
COMMENT ON COLUMN directory.visibility_rules.contents IS
    'A serialized VisibilityRule: rules of a corp are read together and evaluated in the service.';
COMMENT ON COLUMN directory.visibility_rules.change_number IS 'Of the rule''s last change; also its etag.';

-- What identity says of each app's visible range.
CREATE TABLE directory.app_ranges (
    corp_id        text     NOT NULL,
    agent_id       text     COLLATE "C" NOT NULL,
    generation     bigint   NOT NULL DEFAULT 0,
    is_known       boolean  NOT NULL DEFAULT false,
    user_ids       text[]   NOT NULL DEFAULT '{}',
    department_ids bigint[] NOT NULL DEFAULT '{}',
    tag_ids        bigint[] NOT NULL DEFAULT '{}',

    CONSTRAINT app_ranges_pkey PRIMARY KEY (corp_id, agent_id)
);

COMMENT ON COLUMN directory.app_ranges.generation IS
    'Counts identity''s events about the app: an answer asked for before the last of them is not kept.';
COMMENT ON COLUMN directory.app_ranges.is_known IS 'False until identity has been asked since then.';

-- One row a member who has not left: what finds the member, and who may see that.
CREATE TABLE directory.search_entries (
    corp_id        text      NOT NULL,
    user_id        text      COLLATE "C" NOT NULL,
    place          bigint    NOT NULL,
    department_ids bigint[]  NOT NULL,
    body           text      COLLATE "C" NOT NULL,
    terms          text[]    COLLATE "C" NOT NULL,
    -- Hashes, not ids: 32 bits are what a hash has, and there are dozens in a row.
    -- squawk-ignore prefer-bigint-over-int
    grams          integer[] NOT NULL,

    CONSTRAINT search_entries_pkey PRIMARY KEY (corp_id, user_id)
);

COMMENT ON TABLE directory.search_entries IS
    'Made from members and their departments by the indexer, in the order of the changes; without foreign keys, because what is found is looked up in members before anybody sees it.';

COMMENT ON COLUMN directory.search_entries.place IS
    'A hash of the user id: in its order the first rows are a fair sample of all.';
COMMENT ON COLUMN directory.search_entries.department_ids IS 'Each department of the member.';
COMMENT ON COLUMN directory.search_entries.body IS
    'Folded fields, a control character between them: what holds the query is found.';
COMMENT ON COLUMN directory.search_entries.terms IS 'The member''s rows in search_terms.';
COMMENT ON COLUMN directory.search_entries.grams IS
    'Hashes of the corp and the parts of the body, so that one index serves all corps.';

-- The fair sample.
CREATE INDEX search_entries_by_place ON directory.search_entries (corp_id, place, user_id);
-- What few bodies hold.
CREATE INDEX search_entries_by_gram ON directory.search_entries USING gin (grams);

-- What members' names, readings, numbers and addresses begin with, in order.
CREATE TABLE directory.search_terms (
    corp_id text NOT NULL,
    term    text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,

    CONSTRAINT search_terms_pkey PRIMARY KEY (corp_id, term, user_id)
);

COMMENT ON COLUMN directory.search_terms.term IS
    'The digit 0 for the beginning of a field, 1 for a later part; then the text itself.';

-- How far the indexer has come in each corp.
CREATE TABLE directory.search_progress (
    corp_id       text    NOT NULL,
    change_number bigint  NOT NULL DEFAULT -1,
    form          bigint NOT NULL,

    CONSTRAINT search_progress_pkey PRIMARY KEY (corp_id)
);

COMMENT ON COLUMN directory.search_progress.change_number IS
    'Members changed up to this number can be found.';
COMMENT ON COLUMN directory.search_progress.form IS
    'Of the entries: a later program that makes them differently makes all of them anew.';
