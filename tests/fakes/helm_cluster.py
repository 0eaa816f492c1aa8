"""As much of a cluster as Helm asks before it installs: discovery, and objects of one namespace."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

CORE_KINDS = {"namespaces": "Namespace", "secrets": "Secret", "configmaps": "ConfigMap"}
_NOT_FOUND = {
    "kind": "Status",
    "apiVersion": "v1",
    "status": "Failure",
    "reason": "NotFound",
    "code": 404,
}


class HelmCluster:
    """What the cluster has; tests change it before they ask Helm."""

    def __init__(self) -> None:
        self.kinds: set[str] = set()
        """Kinds of others that it knows, as ``group/version/Kind``."""

        self.secrets: dict[str, dict[str, str]] = {}
        """Secrets of the namespace by name, with their keys."""

        self.has_namespace = True

    def answer(self, path: str) -> Mapping[str, Any]:
        """Return the answer to a GET; a Status where there is nothing."""
        match path.strip("/").split("/"):
            case ["version"]:
                return {"major": "1", "minor": "33", "gitVersion": "v1.33.0"}
            case ["api"]:
                return {"kind": "APIVersions", "versions": ["v1"]}
            case ["apis"]:
                return {"kind": "APIGroupList", "apiVersion": "v1", "groups": self._groups()}
            case ["api", "v1"]:
                return _resources("v1", CORE_KINDS)
            case ["apis", group, version]:
                return self._group(group, version)
            case ["api", "v1", "namespaces", _, "secrets", name] if name in self.secrets:
                return _named("Secret", name, data=self.secrets[name])
            case ["api", "v1", "namespaces", _, "configmaps", "kube-root-ca.crt"]:
                if self.has_namespace:
                    return _named("ConfigMap", "kube-root-ca.crt", data={})
        return _NOT_FOUND

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serve on a port of loopback; yield the text of a kubeconfig."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield _kubeconfig(server.server_port)
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def _groups(self) -> list[Mapping[str, Any]]:
        versions = {kind.rpartition("/")[0] for kind in self.kinds} | {"apps/v1"}
        return [
            {
                "name": version.partition("/")[0],
                "versions": [
                    {"groupVersion": version, "version": version.partition("/")[2]},
                ],
            }
            for version in sorted(versions)
        ]

    def _group(self, group: str, version: str) -> Mapping[str, Any]:
        known = [each for each in self.kinds if each.startswith(f"{group}/{version}/")]
        kinds = [each.rpartition("/")[2] for each in known]
        return _resources(f"{group}/{version}", {kind.lower() + "s": kind for kind in kinds})


def _resources(version: str, kinds: Mapping[str, str]) -> Mapping[str, Any]:
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": version,
        "resources": [
            {
                "name": plural,
                "singularName": kind.lower(),
                "kind": kind,
                "namespaced": kind != "Namespace",
                "verbs": ["get", "list"],
            }
            for plural, kind in kinds.items()
        ],
    }


def _named(kind: str, name: str, **fields: Any) -> Mapping[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **fields}


def _handler(cluster: HelmCluster) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = cluster.answer(self.path.partition("?")[0])
            body = json.dumps(answer).encode()
            self.send_response(int(answer.get("code", 200)))
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


def _kubeconfig(port: int) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
    )
