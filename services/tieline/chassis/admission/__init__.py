"""What a replica takes when more is asked of it than it can do, and what it tells of its load.

``decision`` says, at the end of each window, which priorities are let in (pure); ``control`` counts
what arrives and asks it. ``queue_probe`` measures how long calls wait before Python sees them,
``accept_pace`` and ``refusing_time`` bound what refusals take. ``fair_shares`` holds a corp to its
part where others want theirs. ``callee_levels`` is the other side: what other services said that
they would refuse. ``load_reports`` tells the operator each second, ``edge_agent`` the edge.
"""
