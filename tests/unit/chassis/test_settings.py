import pytest

from tieline.chassis.settings import ServiceSettings, SettingsError, load_settings

SECRET = "a-secret-that-no-error-may-show-0123456789"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("TIELINE_DATABASE_DSN", f"postgresql://u:{SECRET}@h/d")
    monkeypatch.setenv("TIELINE_NATS_URL", f"nats://u:{SECRET}@h")
    monkeypatch.setenv("TIELINE_SECRET_KEY", SECRET)
    return monkeypatch


def test_variables_become_settings(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("TIELINE_GRPC_PORT", "7111")

    assert load_settings(ServiceSettings).grpc_port == 7111


def test_a_missing_setting_is_named(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("TIELINE_DATABASE_DSN")

    with pytest.raises(SettingsError, match="TIELINE_DATABASE_DSN is missing"):
        load_settings(ServiceSettings)


def test_a_misspelled_setting_is_refused_by_name(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("TIELINE_GRPC_PROT", "7111")

    with pytest.raises(SettingsError, match="unknown setting TIELINE_GRPC_PROT"):
        load_settings(ServiceSettings)


def test_every_wrong_setting_is_named_at_once(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("TIELINE_GRPC_PORT", "many")
    environment.setenv("TIELINE_TRACE_SAMPLE_RATIO", "2")

    with pytest.raises(SettingsError) as raised:
        load_settings(ServiceSettings)

    assert "TIELINE_GRPC_PORT" in str(raised.value)
    assert "TIELINE_TRACE_SAMPLE_RATIO" in str(raised.value)


def test_an_error_shows_no_secret(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("TIELINE_SECRET_KEY", "too-short-secret")

    with pytest.raises(SettingsError) as raised:
        load_settings(ServiceSettings)

    assert "TIELINE_SECRET_KEY" in str(raised.value)
    assert "too-short-secret" not in str(raised.value)


def test_printed_settings_show_no_secret() -> None:
    assert SECRET not in repr(load_settings(ServiceSettings))
