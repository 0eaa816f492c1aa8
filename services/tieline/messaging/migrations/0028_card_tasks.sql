-- Which task ids apps have given their cards: an app uses each once. Expand only: until all replicas
-- are new, older ones note none, and refuse none.

CREATE TABLE messaging.card_tasks (
    corp_id     text        COLLATE "C" NOT NULL,
    app_id      text        COLLATE "C" NOT NULL,
    task_id     text        COLLATE "C" NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT card_tasks_pkey PRIMARY KEY (corp_id, app_id, task_id)
);

COMMENT ON TABLE messaging.card_tasks IS
    'Task ids of the cards that apps sent; kept for as long as the corp.';
