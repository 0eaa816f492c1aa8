"""Identity's settings."""

import pytest

from tieline.chassis.settings import SettingsError, load_settings
from tieline.identity.settings import IdentitySettings

REQUIRED = {
    "TIELINE_DATABASE_DSN": "postgresql://tieline_identity:x@127.0.0.1/tieline",
    "TIELINE_NATS_URL": "nats://identity:x@127.0.0.1",
    "TIELINE_SECRET_KEY": "s" * 32,
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_the_defaults_are_those_of_the_contract(environment: pytest.MonkeyPatch) -> None:
    settings = load_settings(IdentitySettings)

    assert settings.grpc_port == 7101
    assert settings.access_token_lifetime_s == 900
    assert settings.refresh_token_lifetime_s == 30 * 86400
    assert (settings.password_time_cost, settings.password_memory_kib) == (2, 19456)
    assert settings.platform_administrator_password is None


def test_a_weak_platform_password_is_refused_without_being_shown(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("TIELINE_PLATFORM_ADMINISTRATOR_PASSWORD", "hunter2")

    with pytest.raises(SettingsError) as caught:
        load_settings(IdentitySettings)

    assert "TIELINE_PLATFORM_ADMINISTRATOR_PASSWORD" in str(caught.value)
    assert "hunter2" not in str(caught.value)
