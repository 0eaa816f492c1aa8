"""Messaging: conversations, who is in them, what was said, and its delivery.

Owns the schema ``messaging``. Asks directory who is a member; learns of customers from contacts. A
package for each subject, its rules (pure) in ``rules``, its gRPC methods in ``servicer``; ``app``
puts them together, ``repositories`` has the SQL of all.

    a send      ``servicer``, ``contents`` and ``messages`` (what may be said), ``sending`` (a batch
                of what waited is one transaction), ``live`` (told once the commit is done)
    a change    ``messages`` (edits, recalls, answers, pins), ``groups``, ``conversations``
    a read      ``live`` (what is new), ``messages`` (ranges), ``reading`` (how far somebody is),
                ``search``, ``media``
    by itself   ``scheduled_messages``, ``app_messages``, ``push``, ``compliance`` (what is no
                longer kept), ``upkeep`` (the tables of the months to come)

``consumer`` takes in contacts' events, ``corp_events`` those of corps and of members who leave;
``corps_purge`` deletes what corps that are gone have left; ``answers`` is what other services ask.
"""
