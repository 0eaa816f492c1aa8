"""What the chart has on request: room on nodes, its bound, a volume for the recording."""

from typing import Any

from rendered_chart import component, example_values, merged, of_kind, pod_specs, render, rendered

RECORDING = "/var/lib/tieline/recording"


def operator(changes: dict[str, Any]) -> dict[str, Any]:
    return pod_specs(render(merged(example_values("gateway"), {"recording": changes})))["operator"]


def buffers(changes: dict[str, Any]) -> list[dict[str, Any]]:
    manifests = render(merged(example_values("gateway"), changes))
    return [dict(each) for each in of_kind(manifests, "CapacityBuffer")]


def test_buffer_is_of_the_deployment_of_its_role() -> None:
    (buffer,) = of_kind(rendered("production"), "CapacityBuffer")
    names = {each["metadata"]["name"] for each in of_kind(rendered("production"), "Deployment")}

    assert buffer["apiVersion"] == "autoscaling.x-k8s.io/v1beta1"
    # The fields of the API: one reference, a number of pods.
    assert buffer["spec"] == {
        "scalableRef": {"apiGroup": "apps", "kind": "Deployment", "name": "tieline-messaging"},
        "replicas": 10,
    }
    assert buffer["spec"]["scalableRef"]["name"] in names


def test_nobody_has_a_buffer_unasked_and_every_role_may() -> None:
    asked = buffers({"defaults": {"capacityBuffer": {"percentage": 20}}})

    assert buffers({}) == []
    assert {component(each) for each in asked} == {
        *("identity", "directory", "messaging", "contacts", "payments", "operator"),
    }
    assert all(each["spec"]["percentage"] == 20 for each in asked)
    assert all("replicas" not in each["spec"] for each in asked)


def test_buffer_is_of_the_version_that_the_cluster_serves() -> None:
    changes = {
        "capacityBuffers": {"apiVersion": "v1alpha1"},
        "roles": {"payments": {"capacityBuffer": {"replicas": 1, "percentage": 50}}},
    }
    (buffer,) = buffers(changes)

    assert buffer["apiVersion"] == "autoscaling.x-k8s.io/v1alpha1"
    assert (buffer["spec"]["replicas"], buffer["spec"]["percentage"]) == (1, 50)


def test_recording_is_written_to_a_volume_that_the_operator_may_write_to() -> None:
    spec = operator({"enabled": True, "sizeLimit": "3Gi"})
    (container,) = spec["containers"]

    assert {"name": "TIELINE_RECORDING_DIRECTORY", "value": RECORDING} in container["env"]
    assert {"name": "recording", "mountPath": RECORDING} in container["volumeMounts"]
    assert {"name": "recording", "emptyDir": {"sizeLimit": "3Gi"}} in spec["volumes"]
    # The volume's group is the process's.
    assert spec["securityContext"]["fsGroup"] == spec["securityContext"]["runAsGroup"]


def test_pods_that_share_a_claim_have_a_folder_each() -> None:
    spec = operator({"enabled": True, "existingClaim": "days"})
    (container,) = spec["containers"]
    (mount,) = (each for each in container["volumeMounts"] if each["name"] == "recording")
    names = {each["name"]: each for each in container["env"]}

    assert mount["subPathExpr"] == "$(POD_NAME)"
    assert names["POD_NAME"]["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert {"name": "recording", "persistentVolumeClaim": {"claimName": "days"}} in spec["volumes"]


def test_nothing_is_recorded_unasked() -> None:
    spec = operator({})

    assert [each["name"] for each in spec["volumes"]] == ["temporary"]
    assert "RECORDING" not in str(spec["containers"][0]["env"])


def test_room_of_the_cluster_is_the_operators_setting() -> None:
    def environment(changes: dict[str, Any]) -> dict[str, Any]:
        specs = pod_specs(render(merged(example_values("gateway"), {"surge": changes})))
        return {one["name"]: one.get("value") for one in specs["operator"]["containers"][0]["env"]}

    assert environment({"clusterRoomPods": 100_000})["TIELINE_CLUSTER_ROOM_PODS"] == "100000"
    assert "TIELINE_CLUSTER_ROOM_PODS" not in environment({})
