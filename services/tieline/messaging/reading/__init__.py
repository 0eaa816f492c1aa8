"""How a person stands to a conversation: what was read, muting, pins, drafts.

``state_changes`` commits it; the person's devices hear of it through ``live``.
"""
