-- no-transaction
-- The values to clear when an attribute is deleted: members who have any.
-- Expand only. Dropped first: an attempt that broke off leaves an invalid index behind.
DROP INDEX CONCURRENTLY IF EXISTS directory.members_with_attributes;
-- squawk-ignore ban-concurrent-index-creation-in-transaction
CREATE INDEX CONCURRENTLY members_with_attributes
    ON directory.members (corp_id, user_id) WHERE extended_attributes <> '{}';
