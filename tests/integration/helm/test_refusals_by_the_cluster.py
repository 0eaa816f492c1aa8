"""What the chart refuses where Helm speaks with a cluster, and lets pass where it does not."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from fakes.helm_cluster import HelmCluster
from rendered_chart import CHART, example_values, merged, render

# In a process of its own: Helm's engine reads its cache's place once, and would keep what it
# discovered in the home folder.
INSTALL = """
import json, sys
import helm_python
asked = json.load(sys.stdin)
chart = helm_python.Chart.load(asked["chart"])
options = {"namespace": "connect", "storage_driver": "memory"}
with helm_python.Config(kubeconfig_content=asked["kubeconfig"], **options) as config:
    try:
        config.install(chart, "tieline", asked["values"], namespace="connect", dry_run="server")
    except helm_python.HelmError as error:
        print(error)
"""

OWN_KINDS = {
    f"scaling.tieline.dev/v1alpha1/{kind}"
    for kind in ("SurgePolicy", "SurgeWindow", "SurgeOverride")
}
MONITORING_KINDS = {f"monitoring.coreos.com/v1/{kind}" for kind in ("PodMonitor", "PrometheusRule")}
BUFFER = "autoscaling.x-k8s.io/v1beta1/CapacityBuffer"

ROLE_KEYS = ["password", "nats-password", "secret-key"]
SECRETS = {
    "tieline-identity": [*ROLE_KEYS, "platform-administrator-password"],
    "tieline-directory": ROLE_KEYS,
    "tieline-messaging": [*ROLE_KEYS, "media-access-key-id", "media-secret-access-key"],
    "tieline-contacts": ROLE_KEYS,
    "tieline-payments": ROLE_KEYS,
    "tieline-operator": ["nats-password"],
    "tieline-edge": ["nats-password"],
    "tieline-db-superuser": ["password", "nats-password"],
    "tieline-db-ca": ["ca.crt"],
    "tieline-nats-tls": ["ca.crt"],
    "tieline-grpc-tls": ["tls.crt", "tls.key", "ca.crt"],
    "tieline-edge-tls": ["tls-combined.pem"],
    "tieline-administrator": ["administrator-password"],
}


@pytest.fixture
def cluster() -> HelmCluster:
    """Return a cluster that has all that the production example needs."""
    cluster = HelmCluster()
    cluster.kinds = OWN_KINDS | MONITORING_KINDS | {BUFFER}
    cluster.secrets = {name: dict.fromkeys(keys, "eA==") for name, keys in SECRETS.items()}
    return cluster


async def refusal(
    cluster: HelmCluster, folder: Path, *, example: str = "production", **changes: Any
) -> str:
    """Return why the chart is not rendered for the cluster; nothing if it is."""
    with cluster.serving() as kubeconfig:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", INSTALL),
            env={**os.environ, "HOME": str(folder), "KUBECACHEDIR": str(folder)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        asked = {
            "chart": str(CHART),
            "kubeconfig": kubeconfig,
            "values": merged(example_values(example), changes),
        }
        output, _ = await process.communicate(json.dumps(asked).encode())
    assert process.returncode == 0
    said = output.decode()
    # What follows the rendering, the schemas of all manifests, the cluster does not have.
    return "" if said.startswith("unable to build kubernetes objects from release") else said


async def test_production_is_installed_where_nothing_is_missing(
    cluster: HelmCluster, tmp_path: Path
) -> None:
    assert await refusal(cluster, tmp_path) == ""


async def test_trial_needs_nothing_of_the_cluster(tmp_path: Path) -> None:
    assert await refusal(HelmCluster(), tmp_path, example="trial") == ""


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (
            "scaling.tieline.dev/v1alpha1/SurgePolicy",
            "roles.operator.enabled needs scaling.tieline.dev/v1alpha1/SurgePolicy, which the "
            "cluster does not know: install the chart helm/tieline-crds first",
        ),
        ("scaling.tieline.dev/v1alpha1/SurgeWindow", "install the chart helm/tieline-crds first"),
        (
            "monitoring.coreos.com/v1/PodMonitor",
            "install the Prometheus operator first, or set podMonitor.enabled to false",
        ),
        (
            "monitoring.coreos.com/v1/PrometheusRule",
            "install the Prometheus operator first, or set alerts.enabled to false",
        ),
        (BUFFER, "roles.messaging.capacityBuffer needs autoscaling.x-k8s.io/v1beta1"),
    ],
)
async def test_kind_that_the_cluster_lacks_is_named_with_what_brings_it(
    cluster: HelmCluster, tmp_path: Path, kind: str, sentence: str
) -> None:
    cluster.kinds.remove(kind)

    assert sentence in await refusal(cluster, tmp_path)


async def test_kind_that_nothing_asks_for_is_not_missed(
    cluster: HelmCluster, tmp_path: Path
) -> None:
    cluster.kinds = OWN_KINDS | {BUFFER}
    changes: dict[str, Any] = {"podMonitor": {"enabled": False}, "alerts": {"enabled": False}}

    assert await refusal(cluster, tmp_path, **changes) == ""


@pytest.mark.parametrize("name", SECRETS)
async def test_secret_that_is_not_there_is_named_with_the_value_that_asks_for_it(
    cluster: HelmCluster, tmp_path: Path, name: str
) -> None:
    del cluster.secrets[name]

    said = await refusal(cluster, tmp_path)

    assert f"names the Secret {name}, which is not in the namespace connect" in said
    assert "xistingSecret" in said


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("tieline-identity", "platform-administrator-password"),
        ("tieline-payments", "secret-key"),
        ("tieline-edge-tls", "tls-combined.pem"),
    ],
)
async def test_key_that_a_secret_lacks_is_named(
    cluster: HelmCluster, tmp_path: Path, name: str, key: str
) -> None:
    del cluster.secrets[name][key]

    assert f"{name}, which lacks the key {key}: add it" in await refusal(cluster, tmp_path)


async def test_secrets_of_a_trial_that_brings_its_own_are_looked_at(
    cluster: HelmCluster, tmp_path: Path
) -> None:
    cluster.secrets["passwords"] = {"identity-secret-key": "eA=="}

    said = await refusal(cluster, tmp_path, example="trial", trial={"existingSecret": "passwords"})

    assert "trial.existingSecret names the Secret passwords, which lacks the key" in said


async def test_namespace_that_is_yet_to_be_made_is_not_looked_into(
    cluster: HelmCluster, tmp_path: Path
) -> None:
    cluster.has_namespace = False
    cluster.secrets.clear()

    assert await refusal(cluster, tmp_path) == ""


def test_rendering_without_a_cluster_misses_nothing() -> None:
    assert render(example_values("production"))


@pytest.mark.helm
@pytest.mark.parametrize(("known", "status"), [((), 0), (("v1/Secret",), 1)])
async def test_command_misses_kinds_only_where_it_is_told_of_a_cluster(
    known: tuple[str, ...], status: int, tmp_path: Path
) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump(example_values("production")))
    versions = [word for each in known for word in ("--api-versions", each)]

    process = await asyncio.create_subprocess_exec(
        *("helm", "template", "tieline", str(CHART), "--values", str(values), *versions),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()

    assert process.returncode == status
    assert ("which the cluster does not know" in errors.decode()) == bool(status)
