"""Contacts: which customers belong to which members, customer groups, and the codes that lead in.

Owns contact ways and contacts, customer groups, their members and join ways. Does not own the
conversations that follow from them: messaging makes those when it hears the events.

A request meets the modules in this order: ``servicer`` (translates), ``joining`` (what a code leads
to), ``repositories`` (all SQL). The rules are in ``codes``, ``contacts`` and ``customer_groups``;
``messages`` turns values into protobuf messages and events.
"""
