"""Directory: each corp's departments, members and tags; who works where, and finding people.

Owns departments, members, attributes and tags, and its own picture of which corps exist, kept from
identity's events. Who may sign in is identity's; here belongs everybody whom the corp lists,
invited or not, and the names of those who left.

    a read     ``…_servicer``, ``viewers`` (what the caller sees, by the rules of ``visibility``),
               ``repositories``, ``reads`` and ``disclosure`` (what of it the caller gets): no
               result leaves by another way; members one by one: ``member_reader``, ``member_cache``
    a search   ``member_search``, ``search`` (the closest matches first), ``search_terms``;
               ``search_index`` makes members searchable behind whoever changes them
    a write    ``writers`` (where the caller may), ``…_servicer`` and its fields (``…_messages``,
               ``member_fields``), ``corp_writes`` (lock, numbers of changes, events, audit),
               ``…_changes`` (what is done), the rules (``department_tree``, ``members``,
               ``attributes``, ``tags``, ``limits``), ``repositories``
    an import  ``import_call`` (its caller waits) or ``import_worker`` (a job of
               ``import_servicer``); ``import_stream`` (a file while it arrives) or ``import_files``
               (a whole one); ``csv_rows`` and ``xlsx_rows`` (bytes to records), ``member_rows``
               (records to rows), ``import_batches`` (what of them to write), ``import_nodes`` (how
               full departments are), ``import_writes``;
               in a dry run ``import_preview``; of departments ``department_import``
    an export  ``export_servicer``, ``export_files``, ``exports``

``consumer`` hears of corps, of changed apps and of members who accept an invitation;
``answers`` is what the other services ask.

Beside them: the feed of changes (``changes`` the rules, ``changes_feed`` a page, ``changes_hub``
who waits for more, ``changes_purge`` what is forgotten), schools (``schools`` and ``students`` the
rules, ``schools_writing`` and ``students_writing`` the changes), and what linked corps share
(``linked_corps``).
"""
