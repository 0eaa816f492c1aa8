-- Customers of members, customer groups, and the codes that lead to both. Expand only: nothing
-- reads these yet. User ids are in lower case. Ids of members and customers are not checked
-- against other services' tables: they come from verified tokens.

-- Codes by which customers add a member.
CREATE TABLE contacts.contact_ways (
    corp_id     text        NOT NULL,
    code        text        NOT NULL,
    user_id     text        NOT NULL,
    state       text        NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT contact_ways_pkey PRIMARY KEY (corp_id, code)
);

COMMENT ON COLUMN contacts.contact_ways.state IS
    'The corp''s own mark for where the code is shown, at most 30 characters.';

-- Which customer belongs to which member. A row is as it was when the customer added the member.
CREATE TABLE contacts.contacts (
    corp_id       text             NOT NULL,
    user_id       text             NOT NULL,
    -- ListContacts pages in this order; "C" makes it the same on every machine.
    customer_id   text COLLATE "C" NOT NULL,
    customer_name text             NOT NULL,
    state         text             NOT NULL,
    create_time   timestamptz      NOT NULL DEFAULT now(),

    CONSTRAINT contacts_pkey PRIMARY KEY (corp_id, user_id, customer_id)
);

COMMENT ON COLUMN contacts.contacts.customer_name IS 'As the customer''s token said.';
COMMENT ON COLUMN contacts.contacts.state IS 'Of the contact way that the customer came by.';

-- Groups of members and customers. The row is the lock under which people come in.
CREATE TABLE contacts.customer_groups (
    corp_id           text        NOT NULL,
    customer_group_id text        NOT NULL,
    name              text        NOT NULL,
    owner_user_id     text        NOT NULL,
    create_time       timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT customer_groups_pkey PRIMARY KEY (corp_id, customer_group_id)
);

-- Who is in a group, the owner too. How many these are is counted, not kept.
CREATE TABLE contacts.customer_group_members (
    corp_id           text        NOT NULL,
    customer_group_id text        NOT NULL,
    kind              text        NOT NULL,
    id                text        NOT NULL,
    join_time         timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT customer_group_members_pkey PRIMARY KEY (corp_id, customer_group_id, kind, id),
    CONSTRAINT customer_group_members_group FOREIGN KEY (corp_id, customer_group_id)
        REFERENCES contacts.customer_groups (corp_id, customer_group_id),
    CONSTRAINT customer_group_members_kind CHECK (kind IN ('customer', 'member'))
);

COMMENT ON COLUMN contacts.customer_group_members.id IS 'Customer id or user id, as kind says.';

-- Codes by which customers join a group.
CREATE TABLE contacts.join_ways (
    corp_id           text        NOT NULL,
    code              text        NOT NULL,
    customer_group_id text        NOT NULL,
    create_time       timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT join_ways_pkey PRIMARY KEY (corp_id, code),
    CONSTRAINT join_ways_group FOREIGN KEY (corp_id, customer_group_id)
        REFERENCES contacts.customer_groups (corp_id, customer_group_id)
);
