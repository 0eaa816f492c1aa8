"""What every service stands on and no service owns.

Here belongs what a second service would otherwise write again: configuration, the gRPC server and
its interceptors, the database pool and migrations, events and questions over NATS, telemetry.
Here does not belong anything that knows a corp's business; the chassis imports no service.

Read in this order: ``errors``, ``principals``, ``settings`` (values); ``postgres``,
``commit_batch``, ``outbox``, ``events``, ``requests`` (data and messages); ``interceptors``,
``grpc_server``, ``admission`` (calls, and too many of them); ``runtime`` and ``process`` (how a
role comes up and goes down).
"""
