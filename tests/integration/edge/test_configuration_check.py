"""HAProxy takes every variant of the configuration."""

from pathlib import Path

import pytest

from fakes.certificates import write_certificate
from tieline.chassis.process import StartError
from tieline.chassis.streams import SERVICES
from tieline.edge.configuration import CONFIGURATION_FILE, render
from tieline.edge.haproxy import HAProxy, find_binary
from tieline.edge.methods import list_methods
from tieline.edge.settings import EdgeSettings

pytestmark = pytest.mark.haproxy

WHERE = {
    "one": {"edge_messaging": "127.0.0.1:7103"},
    "all": {f"edge_{service}": "127.0.0.1:7103@7903,localhost:7104" for service in SERVICES},
    "names": {f"edge_{service}": "dns:localhost:7103@7903" for service in SERVICES},
}
LIMITS = {
    "limits": {},
    "none": {
        name: 0 for name in EdgeSettings.model_fields if name.endswith(("_minute", "_per_hour"))
    },
}


# Each value of each choice, and each pair of TLS with the rest: a check takes half a second.
VARIANTS = [
    ("one", "limits", "no", False, 0),
    ("all", "none", "no", True, 7900),
    ("names", "limits", "no", False, 7900),
    ("one", "none", "yes", True, 7900),
    ("all", "limits", "yes", False, 0),
    ("names", "none", "yes", True, 0),
    ("one", "none", "clients", False, 7900),
    ("all", "limits", "clients", True, 0),
    ("names", "limits", "clients", True, 7900),
]


@pytest.mark.parametrize(("where", "limits", "tls", "proxy_protocol", "metrics"), VARIANTS)
async def test_haproxy_takes_the_variant(
    where: str,
    limits: str,
    tls: str,
    proxy_protocol: bool,
    metrics: int,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    settings: dict[str, object] = {**WHERE[where], **LIMITS[limits]}
    if tls != "no":
        certificate = str(write_certificate(tmp_path))
        settings["edge_tls_certificate"] = certificate
        if tls == "clients":
            settings |= {
                "edge_tls_client_ca": certificate,
                "edge_tls_client_certificates": "required",
            }
    chosen = EdgeSettings(
        edge_proxy_protocol=proxy_protocol,
        edge_metrics_port=metrics,
        **settings,  # type: ignore[arg-type]
    )
    directory = tmp_path_factory.mktemp("e")

    await HAProxy(find_binary(), directory).install(
        render(chosen, list_methods(SERVICES), directory)
    )

    assert sorted(path.name for path in directory.iterdir()) == ["haproxy.cfg", "methods.map"]


@pytest.mark.parametrize("deaths", [1, 2])
async def test_a_check_that_was_killed_is_asked_again_and_no_third_time(
    tmp_path: Path, deaths: int
) -> None:
    """Before its second or third start the stand-in kills itself, as a crash would."""
    binary = tmp_path / "haproxy"
    binary.write_text(
        f"""#!/bin/sh
echo started >> {tmp_path}/starts
[ "$(wc -l < {tmp_path}/starts)" -le {deaths} ] && kill -9 $$
exec {find_binary()} "$@"
"""
    )
    binary.chmod(0o700)
    folder = tmp_path / "run"
    folder.mkdir()
    files = {
        CONFIGURATION_FILE: "frontend f\n  mode http\n  timeout client 1s\n  bind 127.0.0.1:1\n"
    }

    if deaths == 1:
        await HAProxy(str(binary), folder).install(files)
    else:
        with pytest.raises(StartError, match="its check ended with -9"):
            await HAProxy(str(binary), folder).install(files)

    assert (tmp_path / "starts").read_text().count("started") == 2
    assert (folder / CONFIGURATION_FILE).exists() is (deaths == 1)
