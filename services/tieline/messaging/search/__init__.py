"""Finding messages.

``index`` makes messages searchable behind the sends (``terms``); ``servicer`` walks back from the
newest (``walk``) or reads the index of terms, and decides on the messages themselves.
"""
