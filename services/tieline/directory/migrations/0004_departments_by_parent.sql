-- no-transaction
-- The children of a department, and the check that it has none when it is deleted.
-- Expand only. Dropped first: an attempt that broke off leaves an invalid index behind.
DROP INDEX CONCURRENTLY IF EXISTS directory.departments_by_parent;
-- squawk-ignore ban-concurrent-index-creation-in-transaction
CREATE INDEX CONCURRENTLY departments_by_parent
    ON directory.departments (corp_id, parent_department_id);
