"""Messaging's settings."""

import pytest

from tieline.chassis.settings import SettingsError, load_settings
from tieline.messaging.settings import MessagingSettings

REQUIRED = {
    "TIELINE_DATABASE_DSN": "postgresql://tieline_messaging:x@127.0.0.1/tieline",
    "TIELINE_NATS_URL": "nats://messaging:x@127.0.0.1",
    "TIELINE_SECRET_KEY": "s" * 32,
}
WEBHOOK = {
    "TIELINE_PUSH_WEBHOOK_URL": "https://push.example.org/tieline",
    "TIELINE_PUSH_WEBHOOK_SECRET": "w" * 32,
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_push_is_off_until_a_webhook_is_named(environment: pytest.MonkeyPatch) -> None:
    assert load_settings(MessagingSettings).push_webhook_url == ""


def test_webhook_with_its_secret_is_taken(environment: pytest.MonkeyPatch) -> None:
    for name, value in WEBHOOK.items():
        environment.setenv(name, value)

    settings = load_settings(MessagingSettings)

    assert settings.push_webhook_url == WEBHOOK["TIELINE_PUSH_WEBHOOK_URL"]
    assert "w" * 32 not in repr(settings)


@pytest.mark.parametrize(
    "changes",
    [
        {"TIELINE_PUSH_WEBHOOK_URL": "http://push.example.org/"},
        {"TIELINE_PUSH_WEBHOOK_SECRET": None},
        {"TIELINE_PUSH_WEBHOOK_SECRET": "short-secret"},
        {"TIELINE_PUSH_WEBHOOK_TIMEOUT_S": "0"},
        {"TIELINE_PUSH_WEBHOOK_TIMEOUT_S": "20.1"},
        {"TIELINE_PUSH_COLLAPSE_S": "60.1"},
    ],
)
def test_wrong_settings_stop_the_start_and_are_not_shown(
    environment: pytest.MonkeyPatch, changes: dict[str, str | None]
) -> None:
    for name, value in {**WEBHOOK, **changes}.items():
        if value is not None:
            environment.setenv(name, value)

    with pytest.raises(SettingsError) as caught:
        load_settings(MessagingSettings)

    assert next(iter(changes)) in str(caught.value)
    assert not any(secret in str(caught.value) for secret in ("wwww", "short-secret"))
