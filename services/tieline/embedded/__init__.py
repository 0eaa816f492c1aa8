"""PostgreSQL and nats-server from wheels, as child processes on loopback.

Belongs here: how an engine's data directory is made, which command runs it and when it is ready.
Does not belong here: what is stored in it (migrations, streams), who restarts it (`tieline.cli`).

Read `postgres`, then `nats`; both stand on `child` (a process that dies with its parent) and
`ports`, PostgreSQL also on `account` (whom it runs as when we are root).
"""
