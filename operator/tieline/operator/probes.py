"""Kubernetes' probes over HTTP, from a thread: a loop that stands still is what they must tell.

/healthz   200 while the loop and the ticks go on, 503 when a restart may help
/readyz    the same, and 503 while nothing is seen of the cluster
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tieline.chassis.process import StartError
from tieline.operator.vitals import Signs

_TIMEOUT_S = 5.0
"""For whoever connects and asks nothing."""


@contextmanager
def serving_probes(port: int, read: Callable[[], Signs]) -> Iterator[int]:
    """Serve within the block; yield the port. Raises StartError when it is taken."""

    class Handler(_Handler):
        timeout = _TIMEOUT_S
        signs = staticmethod(read)

    try:
        # The kubelet calls the pod's address.
        server = ThreadingHTTPServer(("0.0.0.0", port), Handler)  # noqa: S104
    except OSError as error:
        raise StartError(
            f"port {port} for probes can't be opened ({error.strerror}): "
            "set TIELINE_PROBE_PORT to a free one, or to 0 for none"
        ) from error
    thread = threading.Thread(target=server.serve_forever, name="probes", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    signs: Callable[[], Signs]

    def do_GET(self) -> None:
        """Answer one probe."""
        signs = self.signs()
        if self.path == "/healthz":
            problems = signs.find_stalls()
        elif self.path == "/readyz":
            problems = [*signs.find_stalls(), *signs.find_blindness()]
        else:
            self.send_error(HTTPStatus.NOT_FOUND, "here are /healthz and /readyz")
            return
        body = json.dumps(
            {
                "problems": problems,
                "tick_age_s": round(signs.tick_age_s, 3),
                "loop_lag_s": round(signs.loop_lag_s, 3),
                "watch_ages_s": {kind: round(age) for kind, age in signs.watch_ages_s.items()},
                "list_ages_s": {kind: round(age) for kind, age in signs.list_ages_s.items()},
            }
        ).encode()
        self.send_response(HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, *_: Any) -> None:
        """Say nothing: a probe comes every other second."""
