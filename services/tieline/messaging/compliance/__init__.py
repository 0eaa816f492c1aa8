"""What a corp must keep, may read and does not let pass.

``servicer`` works by the rules of ``retention``; ``retention_upkeep`` removes what is no longer
kept. ``archive_servicer`` gives auditors all that was said. ``word_screen`` has each corp's
``sensitive_words`` in memory for the send path.
"""
