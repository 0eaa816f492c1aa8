-- What a recalled message said first is gone, and yet a repeat of its send is to be told from a send of
-- something else. Expand only: of what older replicas recall nothing is noted, and any contents pass.

ALTER TABLE messaging.recent_sends ADD COLUMN recalled_digest bytea;

COMMENT ON COLUMN messaging.recent_sends.recalled_digest IS
    'BLAKE2b, 16 bytes, of the content that was sent, once the message is recalled; null before, when the message itself has the content.';
