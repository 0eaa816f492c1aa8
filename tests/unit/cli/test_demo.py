"""What `tieline demo` refuses before it begins."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from tieline.cli.demo import demo
from tieline.cli.errors import CommandError
from tieline.cli.remote_platform import PASSWORD_VARIABLE, Tls, remote_platform

NO_TLS = Tls(None, None, None, None, None)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--short", "--staff", "200"], "--short decides"),
        (["--short", "--seed", "0"], "--short decides"),
        (["--short", "--no-tls"], "the options of TLS go with --target"),
        (["--tls-server-name", "edge"], "the options of TLS go with --target"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments: list[str], sentence: str) -> None:
    result = CliRunner().invoke(demo, arguments)

    assert result.exit_code == 2
    assert sentence in result.output


def test_target_without_a_password_says_where_it_comes_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)

    with pytest.raises(CommandError, match=f"{PASSWORD_VARIABLE} is missing"):
        remote_platform("edge:7100", NO_TLS, "why")


def test_certificate_goes_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="go together"):
        remote_platform("edge:7100", Tls(True, None, None, tmp_path, None), "why")


def test_platform_elsewhere_is_reached_as_the_options_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "secret")
    for name in ("ca", "certificate", "key"):
        (tmp_path / name).write_text(name)
    files = [tmp_path / name for name in ("ca", "certificate", "key")]

    found = remote_platform(
        "dns:///tieline-{service}:7100", Tls(True, files[0], "edge", *files[1:]), "why"
    )

    assert found.endpoints.contacts == "dns:///tieline-contacts:7100"
    assert (found.tls, found.root_certificates, found.server_name) == (True, b"ca", "edge")
    assert found.client_certificate is not None
    assert (found.client_certificate.chain, found.client_certificate.key) == (
        b"certificate",
        b"key",
    )
    assert "secret" not in repr(found)
