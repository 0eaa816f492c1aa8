"""Directory: each corp's departments and members; who works where, and finding people.

Owns departments and members, and its own picture of which corps exist, kept from identity's events.
Who may sign in is identity's; here belongs everybody whom the corp lists, invited or not.

A read meets the modules in this order: ``servicer``, ``repositories``. ``consumer`` hears of new
corps; ``answers`` is what the other services ask.

An import begins with ``import_call`` (its caller waits) or ``import_worker`` (a job of
``import_servicer``). ``import_stream`` imports a file while it arrives, ``import_files`` a whole
one that ``record_files`` took in. ``csv_rows`` and ``xlsx_rows`` make records of bytes, ``member_rows``
members of records, ``import_batches`` decides what of them to write, ``import_writes`` writes it;
``import_preview`` stands in for the database in a dry run. ``department_rows``,
``department_replacement`` and ``department_import`` do the same for a tree of departments.
``export_servicer``, ``export_files`` and ``exports`` go the other way.
"""
