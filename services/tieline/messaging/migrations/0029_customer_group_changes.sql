-- Which change of a customer's in a customer group was the last that was handled, so that an older one,
-- such as a dead letter that is sent again, changes nothing. Expand only: until all replicas are new,
-- older ones note none.

CREATE TABLE messaging.customer_group_changes (
    corp_id         text   COLLATE "C" NOT NULL,
    conversation_id text   COLLATE "C" NOT NULL,
    customer_id     text   COLLATE "C" NOT NULL,
    change_number   bigint NOT NULL,

    CONSTRAINT customer_group_changes_pkey PRIMARY KEY (corp_id, conversation_id, customer_id)
);

COMMENT ON TABLE messaging.customer_group_changes IS
    'A row for each customer who was ever in a customer group; kept for as long as the corp, since dead letters have no end.';
COMMENT ON COLUMN messaging.customer_group_changes.change_number IS
    'Of contacts, which numbers the changes of each group under its lock.';
