"""The edge: HAProxy in front of the services, configured here and not written here.

Belongs here: what HAProxy is told (pure), starting, checking and reloading it, and reading what it
refused. What a replica answers to the edge's questions is the chassis's (``agent.py``).

In the order of reading: ``settings``, ``methods`` (what the protos say), ``refusals`` (what callers
are told), ``configuration``, ``limits`` and ``backends`` (the files), ``haproxy`` (the process),
``statistics`` and ``reports`` (what it did), ``app``.
"""
