"""Directory: each corp's departments, members and tags; who works where, and finding people.

Owns departments, members, attributes and tags, and its own picture of which corps exist, kept from
identity's events. Who may sign in is identity's; here belongs everybody whom the corp lists,
invited or not, and the names of those who left. A package for each subject, its rules (pure) in
``rules``, its gRPC methods in ``servicer``; ``app`` puts them together, ``repositories`` has the
SQL.

    a read     a ``servicer``, ``visibility`` (``viewers``: what the caller sees, by the
               ``decision``), ``repositories``, ``reads`` and ``disclosure`` (what of it the caller
               gets): no result leaves by another way; members one by one: ``members.reader``,
               ``members.cache``
    a write    ``writers`` (where the caller may), a ``servicer`` and its fields, ``corp_writes``
               (lock, numbers of changes, events, audit), ``changes`` (what is done), the rules and
               ``limits``, ``repositories``
    a search   ``search``
    a file     ``imports``, ``exports``
    a copy     ``changes``: the feed that others keep a copy by

``consumer`` hears of corps, of changed apps and of members who accept an invitation; ``answers`` is
what the other services ask. Beside the departments stand ``schools``, and ``linked_corps`` shows
what corps share.
"""
