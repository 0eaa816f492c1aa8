"""Finding members.

``members`` goes from a query to what its caller gets, ``flow`` the closest matches first, by
``terms`` and ``pinyin``; ``index`` makes members searchable behind whoever changes them.
"""
