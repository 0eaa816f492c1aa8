"""The command line itself: help everywhere, one line for what is expected to fail."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from e2e.platform_process import environment, tieline_command
from tieline.cli import main
from tieline.cli.errors import CommandError, describe_os_error


@pytest.mark.parametrize("name", main.COMMANDS)
def test_command_and_its_subcommands_have_help_with_an_example(name: str) -> None:
    for words in commands_below(name):
        result = CliRunner().invoke(main.tieline, [*words, "--help"])

        assert result.exit_code == 0, result.output
        assert "Example" in result.output, words
        assert f"tieline {name}" in result.output, words


def commands_below(name: str) -> list[list[str]]:
    """Return the words of a command and of each of its subcommands."""
    command = main.tieline.get_command(click.Context(main.tieline), name)
    subcommands = command.commands if isinstance(command, click.Group) else ()
    return [[name], *([name, subcommand] for subcommand in subcommands)]


def test_unknown_command_is_a_usage_error() -> None:
    result = CliRunner().invoke(main.tieline, ["upp"])

    assert result.exit_code == 2
    assert "No such command 'upp'" in result.output


def test_version_and_help_do_not_wait_for_heavy_imports() -> None:
    script = (
        "import sys; from tieline.cli.main import main\n"
        "try: main()\n"
        "finally: print(sorted({'grpc', 'asyncpg', 'nats', 'pydantic', 'rich'} & set(sys.modules)))"
    )
    for argument in ("version", "--help"):
        output = subprocess.run(
            [sys.executable, "-c", script, argument],
            capture_output=True,
            check=True,
            text=True,
            env={**environment(), "PYTHONPATH": ":".join(sys.path)},
        ).stdout

        assert output.splitlines()[-1] == "[]"


def test_grpc_is_told_to_leave_forked_children_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRPC_ENABLE_FORK_SUPPORT")
    monkeypatch.setattr(main, "tieline", lambda **_: None)

    main.main()

    assert os.environ["GRPC_ENABLE_FORK_SUPPORT"] == "false"


def test_expected_failure_is_one_line_and_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise CommandError("the thing is away;\n  start it")

    monkeypatch.setattr(main, "tieline", fail)
    with pytest.raises(SystemExit) as caught:
        main.main()

    assert caught.value.code == 1
    assert capsys.readouterr().err == "tieline: the thing is away; start it\n"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        pytest.param(
            OSError(errno.ENOSPC, "No space left on device"),
            "/data: the disk is full; free some space",
            id="a write on a full disk",
        ),
        pytest.param(
            PermissionError(errno.EACCES, "Permission denied", "/data/lock"),
            "/data/lock: not allowed (Permission denied); make it writable",
            id="a file of somebody else",
        ),
        pytest.param(
            NotADirectoryError(errno.ENOTDIR, "Not a directory", "/data"),
            "/data: Not a directory",
            id="a file in the way",
        ),
    ],
)
def test_system_errors_name_the_thing_and_what_to_do(error: OSError, words: str) -> None:
    assert describe_os_error(error, place=Path("/data")).startswith(words)


def test_wrong_settings_are_one_line_with_the_variables_names() -> None:
    result = subprocess.run(
        tieline_command("serve", "identity"),
        env=environment(TIELINE_GRPC_PRT="1"),
        capture_output=True,
        check=False,
        text=True,
    )

    assert result.returncode == 1
    assert result.stderr.startswith("tieline: unknown setting TIELINE_GRPC_PRT: ")
    assert len(result.stderr.splitlines()) == 1
