-- Two comments that said less than the code does. Expand only.

COMMENT ON COLUMN messaging.pushes.wanted_sequence IS
    'A message that is to be told. Newer ones raise it only while the row is claimed or settled, or put off for longer than they may wait, and not for the webhook: otherwise whoever sends sees them.';

COMMENT ON TABLE messaging.card_tasks IS
    'Task ids that apps gave their cards in the last 180 days, in sending or in UpdateCard.';
