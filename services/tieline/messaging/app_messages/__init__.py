"""What apps send to many, as jobs, and the cards that members answer.

``servicer`` begins a job by the ``rules``; ``runner`` takes jobs in turns, ``turns`` does what
comes next, and ``reach`` asks whom the app reaches. ``sends`` holds what an app sends itself to the
same people and rates. ``card_responses`` gives apps codes for members' answers, which
``card_updates`` takes.
"""
