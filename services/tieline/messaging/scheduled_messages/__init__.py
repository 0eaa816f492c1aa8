"""What people want to be said later, once or again and again.

``servicer`` keeps what and when (``schedules``); ``runner`` sends it through the batcher of all
sends.
"""
