-- Codes of presses on cards' menus, beside those of answers to the same cards. Expand only: codes that
-- older code adds are of answers; an answer that it takes also replaces a press, which only loses a
-- code.
ALTER TABLE messaging.card_response_codes
    ADD COLUMN is_menu boolean NOT NULL DEFAULT false;

COMMENT ON COLUMN messaging.card_response_codes.is_menu IS
    'Whether it is of a press on the card''s menu, which leaves the answer''s code good.';
