"""The service's symmetric keys, each derived from the one secret for one purpose. Pure."""

from dataclasses import dataclass, field

from tieline.chassis.derived_keys import derive_key


@dataclass(frozen=True, slots=True)
class Keyring:
    """Keys of 32 bytes. Renaming a purpose makes everything that was made with its key useless."""

    password_pepper: bytes = field(repr=False)
    invitation_codes: bytes = field(repr=False)
    refresh_tokens: bytes = field(repr=False)
    signing_key_seal: bytes = field(repr=False)
    sign_in_tallies: bytes = field(repr=False)
    one_time_codes: bytes = field(repr=False)
    second_factor_challenges: bytes = field(repr=False)
    second_factor_seal: bytes = field(repr=False)
    recovery_codes: bytes = field(repr=False)
    provider_seal: bytes = field(repr=False)
    app_secrets: bytes = field(repr=False)


def build_keyring(secret_key: str) -> Keyring:
    """Derive all keys from the setting ``secret_key``."""
    return Keyring(
        password_pepper=derive_key(secret_key, "identity.password-pepper"),
        invitation_codes=derive_key(secret_key, "identity.invitation-codes"),
        refresh_tokens=derive_key(secret_key, "identity.refresh-tokens"),
        signing_key_seal=derive_key(secret_key, "identity.signing-key-seal"),
        sign_in_tallies=derive_key(secret_key, "identity.sign-in-tallies"),
        one_time_codes=derive_key(secret_key, "identity.one-time-codes"),
        second_factor_challenges=derive_key(secret_key, "identity.second-factor-challenges"),
        second_factor_seal=derive_key(secret_key, "identity.second-factor-seal"),
        recovery_codes=derive_key(secret_key, "identity.recovery-codes"),
        provider_seal=derive_key(secret_key, "identity.provider-seal"),
        app_secrets=derive_key(secret_key, "identity.app-secrets"),
    )
