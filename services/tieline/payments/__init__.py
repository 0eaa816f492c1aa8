"""Payments: a double-entry ledger for each corp, and red packets on top of it.

Owns accounts, transfers and postings; red packets and their shares. Does not own who is in a
conversation: it asks messaging (``requests.messaging.v1.check_participant``).

A request meets the modules in this order: ``servicer`` (translates), ``openings`` (many openings in
one transaction) or the servicer's own transaction, ``repositories`` (all SQL). The rules are in
``ledger``, ``deposits``, ``red_packets`` and ``split``; ``messages`` turns values into protobuf
messages and events.
"""
