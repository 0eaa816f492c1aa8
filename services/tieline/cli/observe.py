"""`tieline observe`: Prometheus on the platform of this machine, until Ctrl-C."""

import os
import shutil
import signal
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

import click
import yaml

from tieline.cli.data_directory import DataDirectory, data_option
from tieline.cli.errors import CommandError
from tieline.cli.prometheus import (
    CONFIGURATION_FILE,
    RULES_FILE,
    build_configuration,
    build_rules,
)
from tieline.embedded.child import dying_with_parent, running_child
from tieline.embedded.ports import LOOPBACK, find_free_port, is_port_free

DEFAULT_PORT = 9090
STOP_SIGNAL = signal.SIGTERM
PROBE_TIMEOUT_S = 1.0
MAX_PORT = 65535


@click.command()
@data_option("Data folder of the running platform.")
@click.option(
    "--alerts",
    "alerts_path",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder with alert rules, one a file, such as helm/tieline/alerts; without it none.",
)
@click.option(
    "--port",
    type=click.IntRange(1, MAX_PORT),
    help=f"Of Prometheus' pages. Without it {DEFAULT_PORT}, and a free one where that is taken.",
)
def observe(data_path: Path, alerts_path: Path | None, port: int | None) -> None:
    """Run Prometheus on the metrics of the platform on this machine, until Ctrl-C.

    Needs Prometheus (Debian: apt-get install prometheus). It listens on the loopback address only;
    what it collects is gone when it ends.

    \b
    Examples:
      tieline observe --alerts helm/tieline/alerts
      tieline observe --data /srv/tieline --port 19090
    """
    metrics = DataDirectory(data_path).read_endpoints()["metrics"]
    binary = find_prometheus()
    alerts = [] if alerts_path is None else read_alerts(alerts_path)
    chosen = choose_port(port)
    # As Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="tieline-observe-") as folder:
        write_files(Path(folder), metrics, alerts)
        _run(binary, Path(folder), chosen, f"{len(metrics)} roles, {len(alerts)} alerts")


def find_prometheus() -> str:
    """Return the path of Prometheus, or raise CommandError that names the package."""
    path = shutil.which("prometheus")
    if path is None:
        raise CommandError(
            "Prometheus is not installed: install the package `prometheus` (Debian: apt-get "
            "install prometheus), or have one of your own read the addresses of endpoints.json"
        )
    return path


def choose_port(wanted: int | None) -> int:
    """Return the port to use: a taken default is replaced by a free one, and that is said."""
    port = DEFAULT_PORT if wanted is None else wanted
    if is_port_free(port):
        return port
    if wanted is not None:
        raise CommandError(f"in use: port {port}; stop what uses it or give another --port")
    chosen = find_free_port()
    click.echo(f"port {port} is in use: Prometheus is on {chosen} instead")
    return chosen


def read_alerts(folder: Path) -> list[dict[str, Any]]:
    """Return the rules of the folder's files."""
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise CommandError(f"{folder} has no rules: give the folder helm/tieline/alerts")
    return [yaml.safe_load(file.read_text(encoding="utf-8")) for file in files]


def write_files(folder: Path, metrics: dict[str, str], alerts: list[dict[str, Any]]) -> None:
    """Write what Prometheus reads into the folder."""
    for name, content in (
        (CONFIGURATION_FILE, build_configuration(metrics)),
        (RULES_FILE, build_rules(alerts)),
    ):
        (folder / name).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def _run(binary: str, folder: Path, port: int, what: str) -> None:
    """Return at Ctrl-C; CommandError with its last words when Prometheus ends by itself."""
    log_file = folder / "log"
    command = [
        *(binary, f"--config.file={folder / CONFIGURATION_FILE}"),
        *(f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={LOOPBACK}:{port}"),
        "--log.level=warn",
    ]
    try:
        with running_child(
            dying_with_parent(command, STOP_SIGNAL),
            name="Prometheus",
            log_file=log_file,
            stop_signal=STOP_SIGNAL,
            is_ready=lambda: _is_ready(port),
        ) as process_id:
            url = f"http://{LOOPBACK}:{port}"
            click.echo(f"Prometheus has {what}: {url}/targets and {url}/alerts; Ctrl-C ends it")
            os.waitid(os.P_PID, process_id, os.WEXITED | os.WNOWAIT)
    except KeyboardInterrupt:
        click.echo("stopped")
        return
    raise CommandError(f"Prometheus ended by itself: {log_file.read_text(errors='replace')[-500:]}")


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(
            f"http://{LOOPBACK}:{port}/-/ready", timeout=PROBE_TIMEOUT_S
        ) as response:
            return bool(response.status == 200)
    except OSError:
        return False
