"""What Prometheus is given, and on which port it runs."""

import os
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.platform_process import take_port
from rendered_chart import CHART
from tieline.chassis.streams import SERVICES
from tieline.cli import observe
from tieline.cli.data_directory import DataDirectory
from tieline.cli.errors import CommandError
from tieline.cli.platform import Platform
from tieline.cli.port_plan import plan_ports
from tieline.cli.prometheus import build_configuration, build_rules
from tieline.embedded.ports import find_free_port


def platform_metrics(folder: Path) -> dict[str, str]:
    """Return the addresses that a platform on default ports publishes."""
    data = DataDirectory(folder)
    ports = plan_ports(SERVICES, None, is_free=lambda port: True, find_free=find_free_port)
    folder.mkdir(exist_ok=True)
    metrics: dict[str, str] = Platform(data, data.secrets(SERVICES), ports).endpoints()["metrics"]
    return metrics


def test_each_role_of_the_platform_is_scraped_under_its_name(tmp_path: Path) -> None:
    jobs = build_configuration(platform_metrics(tmp_path))["scrape_configs"]

    assert [job["job_name"] for job in jobs] == list(SERVICES)
    (first,) = jobs[0]["static_configs"]
    assert first == {
        "targets": ["127.0.0.1:7201"],
        "labels": {"app_kubernetes_io_component": SERVICES[0]},
    }
    assert (jobs[0]["scheme"], jobs[0]["metrics_path"]) == ("http", "/metrics")


def test_rules_are_the_charts_in_one_group() -> None:
    alerts = observe.read_alerts(CHART / "alerts")

    (group,) = build_rules(alerts)["groups"]

    names = [rule["alert"] for rule in group["rules"]]
    assert names == sorted(path.stem for path in (CHART / "alerts").glob("*.yaml"))


def test_folder_without_rules_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="has no rules"):
        observe.read_alerts(tmp_path)


@pytest.mark.prometheus
def test_prometheus_takes_the_files(tmp_path: Path) -> None:
    write(tmp_path)

    checked = check(tmp_path)

    assert checked.returncode == 0, checked.stdout
    count = len(list((CHART / "alerts").glob("*.yaml")))
    assert f"SUCCESS: {count} rules found" in checked.stdout


def test_written_files_are_read_back_as_they_are_meant(tmp_path: Path) -> None:
    metrics, alerts = write(tmp_path)

    assert yaml.safe_load((tmp_path / "prometheus.yml").read_text()) == build_configuration(metrics)
    assert yaml.safe_load((tmp_path / "rules.yml").read_text()) == build_rules(alerts)


def test_taken_default_port_is_replaced_and_said_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = find_free_port()
    monkeypatch.setattr(observe, "DEFAULT_PORT", taken)
    assert observe.choose_port(None) == taken
    with ExitStack() as stack:
        take_port(stack, taken)

        port = observe.choose_port(None)

        assert capsys.readouterr().out == (
            f"port {taken} is in use: Prometheus is on {port} instead\n"
        )
        with pytest.raises(CommandError, match=f"in use: port {taken}"):
            observe.choose_port(taken)
    assert port != taken


def test_missing_prometheus_is_one_line_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "PATH", "/nowhere")

    with pytest.raises(CommandError, match="apt-get install prometheus"):
        observe.find_prometheus()


def write(folder: Path) -> tuple[dict[str, str], list[dict[str, Any]]]:
    metrics = platform_metrics(folder)
    alerts = observe.read_alerts(CHART / "alerts")
    observe.write_files(folder, metrics, alerts)
    return metrics, alerts


def check(folder: Path) -> "subprocess.CompletedProcess[str]":
    promtool = shutil.which("promtool")
    assert promtool is not None, "it comes with Prometheus"
    return subprocess.run(
        [promtool, "check", "config", str(folder / "prometheus.yml")],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
