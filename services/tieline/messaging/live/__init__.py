"""Live delivery: from what was committed to the devices that are connected here.

``announcer`` publishes each message once on its conversation's subject (``subjects``).
``subscribers`` keeps this replica's; ``feeds`` has one NATS subscription for each conversation that
any of them is in, puts what arrives in order (``delivery``), fetches what is missing, and hands it
to each ``subscriber``'s bounded queue. Who says what it holds is first sent the rest
(``catching_up``, ``resuming``). ``people`` tells a person's own devices, ``looks`` has what passes
between those who look at the same conversation, and is not stored.
"""
