-- The checks of 0006 hold for the rows of before too. Expand only.

ALTER TABLE messaging.conversations VALIDATE CONSTRAINT conversations_posting_known;
ALTER TABLE messaging.conversations VALIDATE CONSTRAINT conversations_adding_known;
ALTER TABLE messaging.conversations VALIDATE CONSTRAINT conversations_kind_known;
ALTER TABLE messaging.conversations VALIDATE CONSTRAINT conversations_direct_key_only_of_pairs;
ALTER TABLE messaging.participants VALIDATE CONSTRAINT participants_kind_known;
ALTER TABLE messaging.participants VALIDATE CONSTRAINT participants_role_known;
