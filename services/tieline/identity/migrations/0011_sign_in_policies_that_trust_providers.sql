-- Whether a corp takes a sign-in at its provider for both factors. Expand only: code that does not
-- know the column leaves it false.

ALTER TABLE identity.sign_in_policies
    ADD COLUMN provider_counts_as_second_factor boolean NOT NULL DEFAULT false;
