"""Directory: each corp's departments and members; who works where, and finding people.

Owns departments and members, and its own picture of which corps exist, kept from identity's events.
Who may sign in is identity's; here belongs everybody whom the corp lists, invited or not.

A read meets the modules in this order: ``servicer``, ``repositories``. An import meets
``servicer``, ``upload`` (the caller's messages), ``import_stream`` (the flow), ``csv_rows`` (bytes
to records), ``member_rows`` (records to rows), ``import_batches`` (what of them to write),
``departments``,
``repositories``. ``consumer`` hears of new corps; ``answers`` is what the other services ask.

Beside them: the feed of changes (``changes`` the rules, ``changes_feed`` a page, ``changes_hub``
who waits for more, ``changes_purge`` what is forgotten), schools (``schools`` and ``students`` the
rules, ``schools_writing`` and ``students_writing`` the changes), and what linked corps share
(``linked_corps``).
"""
