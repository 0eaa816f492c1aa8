"""What a conversation is, who opens it, and what happened in it.

``opening`` lets people in, for the servicer and for contacts' events, by the ``rules``. What
happens in a conversation becomes ``notes`` among its messages, which ``log`` appends.
"""
