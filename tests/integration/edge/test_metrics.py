"""What an edge tells Prometheus: what alerts and dashboards ask for, and its certificate's end."""

import re
from pathlib import Path

import pytest
from cryptography import x509

from fakes.certificates import Authority, replace_file, write_certificate
from fakes.edges import MakeReplica, StartEdge, read_page
from fakes.eventually import eventually
from promql import exposed_metrics, unknown_labels, wanted_metrics
from tieline.embedded.ports import find_free_port

pytestmark = pytest.mark.haproxy


async def test_every_metric_of_the_edge_that_alerts_and_dashboards_ask_for_exists(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    port = find_free_port()
    edge = await start_edge(make_replica(), edge_metrics_port=port)
    await edge.call()

    page = await read_page(port, "/metrics")

    wanted = {name for name in wanted_metrics() if name.startswith("haproxy_")}
    assert wanted - exposed_metrics(page) == set()
    assert unknown_labels([page], prefix="haproxy_") == {}
    # The backends that alerts and dashboards name.
    proxies = set(re.findall(r'haproxy_backend_sessions_total\{proxy="([a-z0-9_]+)"', page))
    assert {"messaging_calls", "messaging_long", "refused_messaging_1", "again_messaging_4"} <= (
        proxies
    )
    assert 'haproxy_backend_active_servers{proxy="messaging_calls"} 1' in page
    assert re.search(r'haproxy_frontend_http_requests_total\{proxy="edge"\} [1-9]', page)


async def test_the_end_of_the_certificate_that_clients_see_is_told_also_after_its_renewal(
    make_replica: MakeReplica, start_edge: StartEdge, tmp_path: Path
) -> None:
    port = find_free_port()
    certificate = write_certificate(tmp_path)
    await start_edge(make_replica(), edge_metrics_port=port, edge_tls_certificate=str(certificate))

    async def told() -> float:
        page = await read_page(port, "/metrics/edge")
        (line,) = (each for each in page.splitlines() if not each.startswith("#"))
        return float(line.removeprefix("certificate_not_after_seconds "))

    assert await told() == end_of(certificate)
    renewed = Authority().issue(good_for_days=90)
    replace_file(certificate, renewed.key + renewed.pem)

    async def is_renewed() -> bool:
        return await told() == renewed.certificate.not_valid_after_utc.timestamp()

    await eventually(is_renewed)


def end_of(pem: Path) -> float:
    return x509.load_pem_x509_certificate(pem.read_bytes()).not_valid_after_utc.timestamp()
