"""What `tieline up` prints, to a person and to a file."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from tieline.chassis.streams import SERVICES
from tieline.cli.data_directory import DataDirectory
from tieline.cli.platform import Platform
from tieline.cli.port_plan import plan_ports
from tieline.cli.terminal import Terminal
from tieline.cli.up import print_welcome


def welcome(data: DataDirectory, *, is_terminal: bool) -> str:
    output = io.StringIO()
    terminal = Terminal(Console(file=output, force_terminal=is_terminal, width=200))
    secrets = data.secrets(SERVICES)
    ports = plan_ports(SERVICES, 8000, is_free=lambda _: True, find_free=lambda: 0)
    platform = Platform(data, secrets, ports)
    print_welcome(terminal, platform, data, secrets.platform_administrator_password)
    return output.getvalue()


def test_person_at_a_terminal_is_shown_addresses_and_the_first_password(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)

    printed = welcome(data, is_terminal=True)

    assert "127.0.0.1:8101" in printed
    assert f"password: {data.read_secrets().platform_administrator_password}\n" in printed


def test_file_is_told_where_the_password_is_kept_and_not_the_password(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)

    printed = welcome(data, is_terminal=False)

    assert data.read_secrets().platform_administrator_password not in printed
    assert str(data.secrets_file) in printed


@pytest.mark.parametrize("line", ["[bold]not markup[/bold]", "x" * 500])
def test_childs_line_is_printed_as_it_is_behind_its_name(line: str) -> None:
    output = io.StringIO()

    Terminal(Console(file=output, force_terminal=False)).child_line("identity", line)

    assert output.getvalue() == f" identity │ {line}\n"


def test_children_have_different_colours_on_a_terminal() -> None:
    output = io.StringIO()
    terminal = Terminal(Console(file=output, force_terminal=True, no_color=False))

    for name in ("identity", "directory", "identity"):
        terminal.child_line(name, "")

    first, second, third = output.getvalue().splitlines()
    assert first == third
    assert first.partition(" ")[0] != second.partition("d")[0]
    assert first.startswith("\x1b[")
