"""One-time codes: made, sent by ``delivery`` from a queue, and taken."""
