"""The Role of the chart against what the running operator asks the API for."""

import re

from nats.aio.client import Client

from fakes.eventually import eventually
from fakes.kubernetes_api.deployments import DeploymentController, build_deployment
from fakes.kubernetes_api.server import KubernetesApi
from fakes.reporting import ReportingReplicas
from integration.operator.conftest import RunOperator
from integration.operator.test_operator import pod_names, policy, replicas_of, window
from rendered_chart import of_kind, rendered

_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/v\w+/namespaces/default/(?P<resource>\w+)"
    r"(?:/(?P<name>[^/]+))?(?:/(?P<sub>\w+))?$"
)
_VERBS = {"GET": ("get",), "PATCH": ("patch",), "PUT": ("update",), "POST": ("create",)}


def asked_for(api: KubernetesApi) -> set[tuple[str, str, str, str]]:
    """Return what was asked for: group, resource, name (empty for a whole kind), verb."""
    found = set()
    for method, path in api.requests:
        match = _PATH.match(path)
        if match is None:
            # What there is and how it is defined: open to everybody in a cluster.
            assert (method, path.split("/")[1]) in {
                ("GET", "api"),
                ("GET", "apis"),
                ("GET", "openapi"),
            }, path
            continue
        group, resource, name, sub = match.groups(default="")
        verbs = _VERBS[method] if name or method != "GET" else ("list", "watch")
        resource = f"{resource}/{sub}" if sub else resource
        found |= {(group, resource, name, verb) for verb in verbs}
    return found


async def test_operator_asks_for_what_its_role_allows_and_for_all_of_it(
    api: KubernetesApi,
    pods: DeploymentController,
    run_operator: RunOperator,
    replicas_broker: Client,
) -> None:
    await api.store.create("configmaps", {"metadata": {"name": "tieline-operator-memory"}})
    await api.store.create("deployments", build_deployment("tieline-messaging", replicas=2))
    await api.apply(policy("tieline-messaging", target="tieline-messaging", service="messaging"))
    await api.apply(window("w", schedule="30 8 * * 1", durationSeconds=60, minReplicas=2))
    reporting = ReportingReplicas(replicas_broker, "messaging")
    override = {
        "apiVersion": "scaling.tieline.dev/v1alpha1",
        "kind": "SurgeOverride",
        "metadata": {"name": "inc-1"},
        "spec": {
            "policyRef": {"name": "tieline-messaging"},
            "action": "Floor",
            "replicas": 3,
            "expiresAt": "2099-01-01T00:00:00Z",
            "reason": "INC-1",
        },
    }
    async with run_operator(), reporting.reporting(lambda: pod_names(api), lambda: 100.0):
        await api.apply(override)
        await eventually(lambda: replicas_of(api, "tieline-messaging") == 3)
        await eventually(lambda: api.store.list("events", {}))
        await eventually(lambda: api.store.find("surgeoverrides", "inc-1").get("status"))
        await eventually(lambda: api.store.find("surgewindows", "w").get("status"))
        lease = "/apis/coordination.k8s.io/v1/namespaces/default/leases/tieline-operator"
        await eventually(lambda: api.requests["PUT", lease])

    (role,) = of_kind(rendered("gateway"), "Role")
    allowed = {
        (group, resource, name, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
        for verb in rule["verbs"]
    }
    asked = asked_for(api)
    assert {one for one in asked if not {one, (one[0], one[1], "", one[3])} & allowed} == set()
    used = {(group, resource, verb) for group, resource, _, verb in asked}
    assert {(group, resource, verb) for group, resource, _, verb in allowed} == used
