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


WEBHOOK = {
    "TIELINE_CODE_SENDER": "webhook",
    "TIELINE_CODE_WEBHOOK_URL": "https://sms.example.org/codes",
    "TIELINE_CODE_WEBHOOK_SECRET": "w" * 32,
}


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        pytest.param(
            {"TIELINE_CODE_SENDER": "development_log", "TIELINE_GRPC_HOST": "0.0.0.0"},  # noqa: S104
            "development_log",
            id="codes in the log of a service that others reach",
        ),
        pytest.param(
            {**WEBHOOK, "TIELINE_CODE_WEBHOOK_URL": ""}, "CODE_WEBHOOK_URL", id="no webhook"
        ),
        pytest.param(
            {**WEBHOOK, "TIELINE_CODE_WEBHOOK_URL": "http://sms.example.org/"},
            "CODE_WEBHOOK_URL",
            id="codes in the clear",
        ),
        pytest.param(
            {**WEBHOOK, "TIELINE_CODE_WEBHOOK_SECRET": "short"},
            "CODE_WEBHOOK_SECRET",
            id="a weak secret",
        ),
        pytest.param(
            {"TIELINE_TRUSTED_PROXIES": "10.0.0.0/8,ten"}, "TRUSTED_PROXIES", id="no network"
        ),
        pytest.param({"TIELINE_PROVIDER_NETWORKS": "ten"}, "PROVIDER_NETWORKS", id="no network"),
    ],
)
def test_settings_that_would_leak_codes_or_mean_nothing_stop_the_start(
    environment: pytest.MonkeyPatch, variables: dict[str, str], named: str
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)

    with pytest.raises(SettingsError) as caught:
        load_settings(IdentitySettings)

    assert named in str(caught.value)


@pytest.mark.parametrize("variables", [WEBHOOK, {"TIELINE_CODE_SENDER": "development_log"}, {}])
def test_codes_are_sent_by_a_webhook_or_for_development_by_the_log_or_not_at_all(
    environment: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)

    assert load_settings(IdentitySettings).code_sender == variables.get(
        "TIELINE_CODE_SENDER", "off"
    )
