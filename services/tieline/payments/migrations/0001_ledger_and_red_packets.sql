-- The ledger (accounts, transfers, postings) and red packets. Expand only: nothing reads these yet.
-- All amounts are in the minor unit of the account's currency (CNY: fen).

-- Who or what holds money. An account appears with its first posting.
CREATE TABLE payments.accounts (
    corp_id       text   NOT NULL,
    account_id    text   NOT NULL,
    kind          text   NOT NULL,
    currency_code text   NOT NULL,
    balance_minor bigint NOT NULL DEFAULT 0,
    posting_count bigint NOT NULL DEFAULT 0,

    CONSTRAINT accounts_pkey PRIMARY KEY (corp_id, account_id),
    CONSTRAINT accounts_kind CHECK (
        kind IN ('bank', 'corp', 'red_packet', 'customer', 'member')
        AND kind = split_part(account_id, ':', 1)
    ),
    CONSTRAINT accounts_currency_code CHECK (currency_code = 'CNY'),
    -- The rule lives in ledger.post_transfers; this is the net under it.
    CONSTRAINT accounts_balance_covered CHECK (kind = 'bank' OR balance_minor >= 0),
    CONSTRAINT accounts_posting_count CHECK (posting_count >= 0)
)
-- Accounts are updated with every posting; room on the page keeps those updates off the index.
WITH (fillfactor = 70);

COMMENT ON COLUMN payments.accounts.account_id IS
    'bank, corp, red_packet:<red packet id>, customer:<customer id> or member:<user id>.';
COMMENT ON COLUMN payments.accounts.balance_minor IS
    'Sum of the account''s postings, kept in their transaction. Negative for bank alone, the world outside.';
COMMENT ON COLUMN payments.accounts.posting_count IS
    'How many postings the account has: the position of the newest.';

-- Movements from one account to another. Rows are never changed.
CREATE TABLE payments.transfers (
    corp_id      text        NOT NULL,
    transfer_id  uuid        NOT NULL,
    kind         text        NOT NULL,
    business_key text        NOT NULL,
    reference    text        NOT NULL,
    create_time  timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT transfers_pkey PRIMARY KEY (corp_id, transfer_id),
    CONSTRAINT transfers_kind CHECK (
        kind IN ('deposit', 'red_packet_created', 'red_packet_opened')
    ),
    -- The net under request ids and locks: nothing is ever paid twice.
    CONSTRAINT transfers_business_key UNIQUE (corp_id, kind, business_key)
);

COMMENT ON COLUMN payments.transfers.business_key IS
    'What it pays for: <administrator>/<request id> of a deposit, <red packet id> of a packet, <red packet id>/<position> of a share.';
COMMENT ON COLUMN payments.transfers.reference IS
    'The bank''s reference of a deposit; else empty.';

-- The sides of the transfers: two each, which sum to 0. Rows are never changed.
CREATE TABLE payments.postings (
    corp_id             text   NOT NULL,
    account_id          text   NOT NULL,
    position            bigint NOT NULL,
    transfer_id         uuid   NOT NULL,
    amount_minor        bigint NOT NULL,
    balance_after_minor bigint NOT NULL,

    -- Consecutive positions: two writers can't post to one account without knowing of each other.
    CONSTRAINT postings_pkey PRIMARY KEY (corp_id, account_id, position),
    CONSTRAINT postings_sides UNIQUE (corp_id, transfer_id, account_id),
    CONSTRAINT postings_account FOREIGN KEY (corp_id, account_id)
        REFERENCES payments.accounts (corp_id, account_id),
    CONSTRAINT postings_transfer FOREIGN KEY (corp_id, transfer_id)
        REFERENCES payments.transfers (corp_id, transfer_id),
    CONSTRAINT postings_position CHECK (position >= 1),
    CONSTRAINT postings_amount CHECK (amount_minor <> 0),
    CONSTRAINT postings_balance_covered CHECK (account_id = 'bank' OR balance_after_minor >= 0)
);

COMMENT ON COLUMN payments.postings.position IS '1, 2, 3, ... in the account.';
COMMENT ON COLUMN payments.postings.amount_minor IS 'Negative for the account that gives.';

-- Red packets. Rows are never changed: what is left of a packet, its shares tell. The row is the
-- lock under which its shares are given out.
CREATE TABLE payments.red_packets (
    corp_id         text        NOT NULL,
    red_packet_id   uuid        NOT NULL,
    conversation_id text        NOT NULL,
    sender_user_id  text        NOT NULL,
    amount_minor    bigint      NOT NULL,
    currency_code   text        NOT NULL,
    share_count     bigint      NOT NULL,
    greeting        text        NOT NULL,
    split_seed      bytea       NOT NULL,
    create_time     timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT red_packets_pkey PRIMARY KEY (corp_id, red_packet_id),
    CONSTRAINT red_packets_share_count CHECK (share_count BETWEEN 1 AND 100),
    CONSTRAINT red_packets_amount CHECK (
        amount_minor BETWEEN share_count AND share_count * 20000
    ),
    CONSTRAINT red_packets_split_seed CHECK (octet_length(split_seed) = 32)
);

COMMENT ON COLUMN payments.red_packets.split_seed IS
    'What the shares were drawn from. Secret until the last share is opened.';

-- Every share of every packet, stored with the packet, in the order of opening.
CREATE TABLE payments.red_packet_shares (
    corp_id       text    NOT NULL,
    red_packet_id uuid    NOT NULL,
    position      bigint  NOT NULL,
    amount_minor  bigint  NOT NULL,
    opener_kind   text,
    opener_id     text,
    open_time     timestamptz,

    CONSTRAINT red_packet_shares_pkey PRIMARY KEY (corp_id, red_packet_id, position),
    CONSTRAINT red_packet_shares_packet FOREIGN KEY (corp_id, red_packet_id)
        REFERENCES payments.red_packets (corp_id, red_packet_id),
    -- One share each. Shares that nobody opened hold NULL, which this lets pass.
    CONSTRAINT red_packet_shares_opener UNIQUE (corp_id, red_packet_id, opener_kind, opener_id),
    CONSTRAINT red_packet_shares_position CHECK (position >= 1),
    CONSTRAINT red_packet_shares_amount CHECK (amount_minor BETWEEN 1 AND 20000),
    CONSTRAINT red_packet_shares_opened CHECK (
        num_nulls(opener_kind, opener_id, open_time) IN (0, 3)
    ),
    CONSTRAINT red_packet_shares_opener_kind CHECK (opener_kind IN ('customer', 'member'))
);

COMMENT ON COLUMN payments.red_packet_shares.position IS
    '1 for the first share to be opened. Shares are opened without gaps.';

-- A ledger is only ever added to; the service could not rewrite history if it wanted to.
REVOKE UPDATE, DELETE ON payments.transfers, payments.postings FROM tieline_payments;
REVOKE DELETE ON payments.accounts, payments.red_packets, payments.red_packet_shares
    FROM tieline_payments;
