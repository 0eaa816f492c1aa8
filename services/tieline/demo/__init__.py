"""The main job: a jewellery retailer comes on board and a working day happens.

Belongs here: what its people do, and the checks that nothing went wrong on the way. They act
through ``tieline.client`` alone, as anybody's program would; nothing here knows a service's inside.

Reading order: story (the acts in order), then the acts ``onboarding``, ``staff_import``,
``conversations``, ``customers``, ``red_packet``; ``checks`` (pure) says what must hold in the end,
``journal`` and ``report`` what is shown. The input is from ``short_day``, which needs nothing else,
or ``full_day``, with Faker and ``corpus``; both write a ``staff_file``.
"""
