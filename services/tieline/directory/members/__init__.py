"""A corp's members: their fields, changes and reads.

``reader`` reads members together that were asked for one by one; ``cache`` keeps them for as long
as the corp's changes do not name them.
"""
