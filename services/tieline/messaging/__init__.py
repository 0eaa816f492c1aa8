"""Messaging: conversations, who is in them, what was said, and its delivery.

Owns the schema ``messaging``. Asks directory who is a member; learns of customers from contacts.

To send: ``servicer`` checks the request (``messages``), one, a batch of them or a stream
(``send_stream``, ``send_results``); the batcher hands what waited together to ``sending``, which
locks, numbers (``numbering``) and writes through ``repositories``. After the commit ``announcer``
publishes each message once on its conversation's subject (``subjects``). ``upkeep`` makes the
tables of the months to come and forgets which ids were sent long ago.

What happens in a conversation becomes notes (``notes``) among its messages: ``conversation_log``
appends them. ``contents`` and ``template_cards`` have the rules of what people say.

To receive: ``live`` keeps this replica's subscribers; ``feeds`` has one NATS subscription for each
conversation that any of them is in, puts what arrives in order (``delivery``), fetches what is
missing, and hands it to each ``subscriber``'s bounded queue. Who says what it holds is first sent
the rest (``catching_up``, ``resuming``); ``ranges`` and ``range_reads`` serve those who fetch.

How a person stands to a conversation (``reading``): ``state_changes`` commits it, ``people`` tells
the person's devices, ``overviews`` and ``content_texts`` make what a list shows. ``looks`` has what
passes between those who look at the same conversation, and is not stored.

To find a message: ``search_index`` makes messages searchable behind the sends (``search_terms``),
``search_servicer`` walks back from the newest (``search_walk``) or reads the index of terms, and
decides on the messages themselves.

Media: ``media_servicer`` takes them in through ``uploading`` and gives them out, by the rules of
``media``; ``media_types`` and ``images`` look at what arrived. The bytes lie behind the port
``blob_store`` (``object_store``); ``media_upkeep`` removes what has expired. ``media_uses`` says
what a message refers to, which ``sending`` checks and notes in the message's transaction.

To be sent later: ``scheduled_message_servicer`` keeps what people want to be said and when
(``schedules``); ``schedule_runner`` sends it through the same batcher.

To reach devices that are not subscribed: ``push_servicer`` keeps where (``push_targets``) and when
not (``quiet_hours``), ``connected_devices`` which are; ``pushing`` notes what they are to be told
from the events of the messages, and hands what ``push_rules`` decides to the port of
``push_senders``.

To be sent to many by an app: ``app_message_servicer`` begins a job by the rules of
``app_messages``; ``app_message_runner`` takes jobs in turns, ``app_message_turns`` does what comes
next, and ``app_reach`` asks whom the app reaches. ``app_sends`` holds what an app sends itself to
the same people and rates. ``card_tasks`` lets a task id name one card. ``card_responses`` gives
apps codes for members' answers, which ``card_updates`` takes.

Messages that are there change by ``message_changes`` (``message_rules``, ``choices``); what one on
its way answers and mentions is looked up by ``references``.

Groups change by ``group_changes``, under their lock and by the rules of ``groups``; ``joining``
lets people in by code. ``corp_events`` notes who left a corp and which corps are gone,
``departures`` and ``corps_purge`` do the work.

Compliance: ``compliance_servicer`` by the rules of ``retention``; ``retention_upkeep`` removes what
is no longer kept. ``archive_servicer`` gives auditors all that was said (``archive``).
``word_screen`` has each corp's ``sensitive_words`` in memory for ``sending``.

To be in a conversation: ``opening``, for the servicer and for the ``consumer`` of contacts' events,
by the rules of ``conversations``.
"""
