"""Groups: who may change what of them, how people come in, and how they leave.

``changes`` are made under the group's lock and by the ``rules``; ``joining`` lets people in by
``join_codes``; ``departures`` takes those out who left their corp.
"""
