"""Images, voices, videos and files: their rules, the way in and out, and where they lie.

``types`` and ``images`` look at what arrived. The bytes lie behind the port ``blob_store``
(``object_store``); ``upkeep`` removes what has expired. ``uses`` says what a message refers to,
which the send path checks and notes in the message's transaction.
"""
