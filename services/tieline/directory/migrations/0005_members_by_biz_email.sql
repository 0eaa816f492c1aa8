-- no-transaction
-- The net under the check of work e-mails, and GetMemberIdByEmail.
-- Expand only. Dropped first: an attempt that broke off leaves an invalid index behind.
DROP INDEX CONCURRENTLY IF EXISTS directory.members_biz_email_key;
-- squawk-ignore ban-concurrent-index-creation-in-transaction
CREATE UNIQUE INDEX CONCURRENTLY members_biz_email_key
    ON directory.members (corp_id, lower(biz_email)) WHERE biz_email <> '';
