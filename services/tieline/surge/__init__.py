"""`tieline surge`: open-loop load on a running platform, watched, written down and drawn.

Open loop: a call is due when the profile says so, whatever became of those before it, as with
people who don't know of each other. Latency counts from that moment. The load comes from processes
of its own, which say when they can't keep up.

Belongs here: everything of a surge. Stands on the public API alone; the load reports that it may
watch are the caller's to bring. Reading order: ``profiles``, ``mix``, ``outcomes``, ``people``,
``generator``, ``surge``, ``live``, ``charts``, ``report``.
"""
