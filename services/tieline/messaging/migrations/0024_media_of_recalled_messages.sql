-- A recall takes media from its message's readers, and a hold keeps them for auditors. Expand only:
-- until all replicas are new, older ones still open what a recalled message referred to.

ALTER TABLE messaging.media ADD COLUMN is_withheld boolean NOT NULL DEFAULT false;

COMMENT ON COLUMN messaging.media.is_withheld IS
    'Only messages that are gone for their readers refer to it: nobody but auditors opens it, its owner neither.';

-- Whatever changes a message: nothing that was said is lost to auditors, and what a recalled message
-- referred to is no longer readable through it. Whether a hold keeps it is decided later, when such
-- references are removed: a hold that is acknowledged before that is on it too.
CREATE OR REPLACE FUNCTION messaging.keep_version() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO messaging.message_versions
           (corp_id, conversation_id, sequence, replace_time, message_time, content)
    VALUES (OLD.corp_id, OLD.conversation_id, OLD.sequence, clock_timestamp(), OLD.create_time,
            OLD.content);
    IF NEW.recall_time IS NOT NULL AND OLD.recall_time IS NULL THEN
        UPDATE messaging.media_references
           SET is_readable = false
         WHERE corp_id = OLD.corp_id
           AND conversation_id = OLD.conversation_id
           AND sequence = OLD.sequence;
    END IF;
    RETURN NULL;
END
$$;
