"""Who sees whom, and what of them.

``viewers`` finds out what the caller of a read is, the ``decision`` what such a viewer sees by the
corp's rules (``rules``), ``disclosure`` what of it is shown. ``audiences`` answers whom an app
reaches.
"""
