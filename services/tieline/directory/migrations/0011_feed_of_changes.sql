-- What the feed of changes needs beside the change numbers: where a cursor is from, and from when
-- on removals are still known. Expand only.

ALTER TABLE directory.corps ADD COLUMN removals_purged_through bigint NOT NULL DEFAULT 0;
ALTER TABLE directory.corps ADD COLUMN feed_epoch text NOT NULL DEFAULT '';

COMMENT ON COLUMN directory.corps.removals_purged_through IS
    'The change number of the last removal that was forgotten; a cursor before it would miss it.';
COMMENT ON COLUMN directory.corps.feed_epoch IS
    'Set to something new when the change numbers no longer say what they said, as after restoring a backup: cursors of another epoch are refused.';

-- What was there before there were change numbers gets them, so that each is one row's own.
WITH numbered AS (
    SELECT department.corp_id, department.department_id,
           corp.last_change_number
           + row_number() OVER (PARTITION BY department.corp_id ORDER BY department.department_id)
           AS change_number
      FROM directory.departments AS department
      JOIN directory.corps AS corp ON corp.corp_id = department.corp_id
     WHERE department.change_number = 0
)
UPDATE directory.departments
   SET change_number = numbered.change_number
  FROM numbered
 WHERE departments.corp_id = numbered.corp_id
   AND departments.department_id = numbered.department_id;

UPDATE directory.corps
   SET last_change_number = greatest(corps.last_change_number, department.last_change_number)
  FROM (SELECT corp_id, max(change_number) AS last_change_number
          FROM directory.departments
         GROUP BY corp_id) AS department
 WHERE corps.corp_id = department.corp_id;

WITH numbered AS (
    SELECT member.corp_id, member.user_id,
           corp.last_change_number
           + row_number() OVER (PARTITION BY member.corp_id ORDER BY member.user_id)
           AS change_number
      FROM directory.members AS member
      JOIN directory.corps AS corp ON corp.corp_id = member.corp_id
     WHERE member.change_number = 0
)
UPDATE directory.members
   SET change_number = numbered.change_number
  FROM numbered
 WHERE members.corp_id = numbered.corp_id AND members.user_id = numbered.user_id;

UPDATE directory.corps
   SET last_change_number = greatest(corps.last_change_number, member.last_change_number)
  FROM (SELECT corp_id, max(change_number) AS last_change_number
          FROM directory.members
         GROUP BY corp_id) AS member
 WHERE corps.corp_id = member.corp_id;

-- Forgetting removals, the oldest of all corps first.
CREATE INDEX removals_by_time ON directory.removals (remove_time);
