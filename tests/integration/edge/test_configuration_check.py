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
    ("one", "limits", "optional clients", False, 7900),
    ("names", "none", "optional clients", True, 0),
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
        if tls.endswith("clients"):
            settings |= {
                "edge_tls_client_ca": certificate,
                "edge_tls_client_certificates": "required" if tls == "clients" else "optional",
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


async def test_a_check_that_was_killed_says_so_and_installs_nothing(tmp_path: Path) -> None:
    binary = tmp_path / "haproxy"
    binary.write_text("#!/bin/sh\nkill -9 $$\n")
    binary.chmod(0o700)
    folder = tmp_path / "run"
    folder.mkdir()

    with pytest.raises(StartError, match="its check ended with -9"):
        await HAProxy(str(binary), folder).install({CONFIGURATION_FILE: "global\n"})

    assert not list(folder.iterdir())
