"""How passwords are hashed here: what the settings and the keyring say."""

from tieline.identity.keyring import Keyring
from tieline.identity.passwords.hashing import PasswordHasher
from tieline.identity.settings import IdentitySettings


def build_hasher(settings: IdentitySettings, keyring: Keyring) -> PasswordHasher:
    """Return what hashes as every replica with these settings does."""
    return PasswordHasher(
        keyring.password_pepper,
        time_cost=settings.password_time_cost,
        memory_kib=settings.password_memory_kib,
        parallelism=settings.password_parallelism,
    )
