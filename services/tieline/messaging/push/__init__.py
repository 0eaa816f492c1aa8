"""Offline push: what devices that are not connected are told, and by whom.

``servicer`` keeps where (``targets``) and when not (``quiet_hours``); ``pushing`` notes what
devices are to be told from the events of the messages, and hands what the ``rules`` decide to the
port of ``senders``.
"""
