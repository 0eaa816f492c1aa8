"""Messages that are there: as they are stored, read in ``ranges``, and changed.

``changes`` are made under the conversation's lock and by the ``change_rules``.
"""
