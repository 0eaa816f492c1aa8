"""Directory: each corp's departments and members; who works where, and finding people.

Owns departments and members, and its own picture of which corps exist, kept from identity's events.
Who may sign in is identity's; here belongs everybody whom the corp lists, invited or not.

A read meets the modules in this order: ``servicer`` (or ``<noun>_servicer``), ``viewers`` (what the
caller sees, by the rules of ``visibility``), ``repositories``, ``reads`` and ``disclosure`` (what
of it the caller gets). No result leaves by another way. A search meets ``member_search``,
``search`` (the closest matches first) and ``search_terms``; ``search_index`` makes members
searchable behind whoever changes them.

An import meets ``servicer``, ``upload`` (the caller's messages), ``import_stream`` (the flow),
``csv_rows`` (bytes to records), ``member_rows`` (records to rows), ``import_batches`` (what of them
to write), ``departments``, ``repositories``. ``consumer`` hears of new corps and of changed apps;
``answers`` is what the other services ask.
"""
