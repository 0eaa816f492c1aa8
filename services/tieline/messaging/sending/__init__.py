"""The send path: one message, a batch of them or a ``stream``.

The batcher hands what waited together to ``batches``, which locks, numbers (``numbering``) and
writes in one transaction. ``references`` looks up what messages on their way answer and mention.
"""
