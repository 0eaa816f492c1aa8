-- What else stands in the grams of search entries. Expand only: code before this takes no notice.

COMMENT ON COLUMN directory.search_entries.grams IS
    'Hashes of the corp and the parts of the body, and of the corp and each department of the member, so that one index serves all corps.';
