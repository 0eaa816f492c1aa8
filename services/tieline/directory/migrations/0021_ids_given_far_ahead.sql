-- Corps that gave a department or a tag an id far ahead: what was made later came behind it, in the
-- end above the greatest id that there may be. Such an id moves the next one no more, and here back
-- to where it was before it. Expand only: to code before this the ids in between are free as well.

UPDATE directory.corps
   SET next_department_id = (SELECT max(department_id) + 1
                               FROM directory.departments
                              WHERE departments.corp_id = corps.corp_id
                                AND department_id < 1073741824)
 WHERE next_department_id > 1073741824
   AND EXISTS (SELECT
                 FROM directory.departments
                WHERE departments.corp_id = corps.corp_id AND department_id < 1073741824);

UPDATE directory.corps
   SET next_tag_id = (SELECT coalesce(max(tag_id), 0) + 1
                        FROM directory.tags
                       WHERE tags.corp_id = corps.corp_id AND tag_id < 1073741824)
 WHERE next_tag_id > 1073741824;

COMMENT ON COLUMN directory.corps.next_department_id IS
    'Above every id that was made, and every one below 2^30 that was given: never one again.';
COMMENT ON COLUMN directory.corps.next_tag_id IS
    'Above every id that was made, and every one below 2^30 that was given.';
