-- Which corps' members are yet to be made searchable, so that finding them reads nothing of the
-- corps where nothing changes. Expand only: who does not write it is found by the slow look.

CREATE TABLE directory.search_waiting (
    corp_id       text   NOT NULL,
    change_number bigint NOT NULL,

    -- A row for each taking of numbers: writers only add, and wait for nobody here.
    CONSTRAINT search_waiting_pkey PRIMARY KEY (corp_id, change_number)
);

COMMENT ON TABLE directory.search_waiting IS
    'The corp''s last number after each change; deleted by the indexer that comes past it.';
