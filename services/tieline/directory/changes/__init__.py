"""The feed of changes, by which copies of a directory are kept.

``rules`` say what a cursor is good for, ``feed`` reads a page, ``hub`` has who waits for more,
``purge`` forgets what is old.
"""
