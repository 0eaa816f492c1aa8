from typing import Any

import pytest

from tieline.operator.fleet import Fleet, PolicyView
from tieline.operator.resources import Kind
from tieline.operator.windows import window_from_spec

LABELS = {"component": "messaging"}


def policy(name: str, target: str = "messaging", *, created: str = "01", **spec: Any) -> Any:
    return {
        "metadata": {"name": name, "creationTimestamp": f"2026-01-{created}T00:00:00Z"},
        "spec": {
            "targetRef": {"name": target},
            "maxReplicas": 9,
            "capacity": {"requestsPerSecondPerPod": 100},
            **spec,
        },
    }


def deployment(name: str = "messaging", replicas: int = 3) -> Any:
    return {
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": LABELS}},
    }


def pod(name: str, *, ready: bool = True, labels: Any = LABELS, **metadata: Any) -> Any:
    status = {"type": "Ready", "status": "True" if ready else "False"}
    return {
        "metadata": {"name": name, "labels": labels, **metadata},
        "status": {
            "phase": "Running",
            "conditions": [{**status, "lastTransitionTime": "2026-01-02T00:00:00Z"}],
        },
    }


def views(fleet: Fleet) -> dict[str, PolicyView]:
    return {view.meta.name: view for view in fleet.views(lambda _: (), lambda _: "")}


def test_policy_is_seen_with_its_target_and_the_living_pods_behind_it() -> None:
    fleet = Fleet()
    fleet.note(Kind.POLICY, None, policy("messaging"))
    fleet.note(Kind.DEPLOYMENT, None, deployment())
    for body in (
        pod("ready"),
        pod("starting", ready=False),
        pod("leaving", deletionTimestamp="2026-01-02T00:00:00Z"),
        pod("stranger", labels={"component": "contacts"}),
        {**pod("failed"), "status": {"phase": "Failed"}},
    ):
        fleet.note(Kind.POD, "ADDED", body)

    given = views(fleet)["messaging"].given

    assert given is not None
    assert given.current_replicas == 3
    assert [(each.name, each.ready_time is not None) for each in given.pods] == [
        ("ready", True),
        ("starting", False),
    ]


def test_of_two_policies_for_a_target_the_older_one_scales_until_it_is_gone() -> None:
    fleet = Fleet()
    fleet.note(Kind.DEPLOYMENT, None, deployment())
    fleet.note(Kind.POLICY, None, policy("younger", created="02"))
    fleet.note(Kind.POLICY, None, policy("older", created="01"))

    both = views(fleet)
    fleet.note(Kind.POLICY, "DELETED", policy("older"))
    one = views(fleet)

    assert both["older"].given is not None
    trouble = both["younger"].trouble
    assert trouble is not None
    assert (trouble.reason, trouble.is_conflict) == ("TargetTaken", True)
    assert one.keys() == {"younger"}
    assert one["younger"].given is not None


def test_of_two_policies_for_a_service_the_older_one_is_carried_out_until_it_is_gone() -> None:
    """Their targets are different, and the reports of both would count for each."""
    fleet = Fleet()
    for name in ("blue", "green"):
        body = deployment(name)
        body["spec"]["selector"] = {"matchLabels": {"colour": name}}
        fleet.note(Kind.DEPLOYMENT, None, body)
        fleet.note(Kind.POD, None, pod(f"{name}-0", labels={"colour": name}))
    older = policy("older", target="blue", created="01", service="messaging")
    fleet.note(Kind.POLICY, None, policy("a", target="green", created="02", service="messaging"))
    fleet.note(Kind.POLICY, None, older)

    both = views(fleet)
    reporters = [fleet.is_replica("messaging", name) for name in ("blue-0", "green-0")]
    fleet.note(Kind.POLICY, "DELETED", older)
    one = views(fleet)

    assert both["older"].given is not None
    trouble = both["a"].trouble
    assert trouble is not None
    assert (trouble.reason, trouble.is_conflict) == ("ServiceTaken", True)
    assert trouble.message == "the older policy older is for the service messaging"
    assert reporters == [True, False]
    assert one["a"].given is not None
    assert fleet.is_replica("messaging", "green-0")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(policy("p", target="nowhere"), "TargetNotFound", id="no such Deployment"),
        pytest.param(policy("p", minReplicas=10), "InvalidSpec", id="min over max"),
        pytest.param({"metadata": {"name": "p"}}, "InvalidSpec", id="no spec"),
    ],
)
def test_policy_that_can_not_be_carried_out_says_why(body: Any, reason: str) -> None:
    fleet = Fleet()
    fleet.note(Kind.DEPLOYMENT, None, deployment())
    fleet.note(Kind.POLICY, None, body)

    view = views(fleet)["p"]

    assert view.given is None
    assert view.trouble is not None
    assert view.trouble.reason == reason


def test_a_list_takes_away_what_went_unseen() -> None:
    fleet = Fleet()
    fleet.note(Kind.POLICY, None, policy("kept"))
    fleet.note(Kind.POLICY, None, policy("gone"))

    fleet.replace(Kind.POLICY, [policy("kept"), policy("new", target="contacts")])

    assert views(fleet).keys() == {"kept", "new"}
    assert fleet.services() == {"messaging", "contacts"}


def test_an_autoscaler_on_the_target_is_a_conflict() -> None:
    fleet = Fleet()
    fleet.note(Kind.DEPLOYMENT, None, deployment())
    fleet.note(Kind.POLICY, None, policy("messaging"))
    reference = {"kind": "Deployment", "name": "messaging"}
    autoscaler = {"metadata": {"name": "hpa"}, "spec": {"scaleTargetRef": reference}}

    fleet.note(Kind.AUTOSCALER, "ADDED", autoscaler)

    given = views(fleet)["messaging"].given
    assert given is not None
    assert "HorizontalPodAutoscaler hpa" in given.conflict


def made(uid: str, version: str, created: str = "01") -> Any:
    body = policy("messaging", created=created)
    return {**body, "metadata": {**body["metadata"], "uid": uid, "resourceVersion": version}}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(("9", "01"), ("10", "01"), id="in the same second, by version"),
        pytest.param(("8", "02"), ("10", "01"), id="by version before a clock that was set back"),
        pytest.param(("b", "01"), ("a", "02"), id="by time where versions are no numbers"),
    ],
)
def test_what_comes_late_of_an_object_neither_changes_its_successor_nor_takes_it_away(
    first: tuple[str, str], second: tuple[str, str]
) -> None:
    fleet = Fleet()
    fleet.note(Kind.POLICY, None, made("first", *first))
    fleet.note(Kind.POLICY, "ADDED", made("second", *second))
    with fleet.listing(Kind.POLICY) as told:
        for event in ("MODIFIED", "DELETED"):
            fleet.note(Kind.POLICY, event, made("first", *first))
            assert views(fleet)["messaging"].meta.uid == "second"
        assert not told

    fleet.note(Kind.POLICY, "DELETED", made("second", *second))
    assert views(fleet) == {}


def test_change_of_an_object_is_taken_in_whatever_its_version() -> None:
    fleet = Fleet()
    fleet.note(Kind.POLICY, None, made("one", "10"))

    fleet.note(Kind.POLICY, "MODIFIED", made("one", "9", created="02"))

    assert views(fleet)["messaging"].meta.version == "9"


@pytest.mark.parametrize(
    ("spec", "reason", "words"),
    [
        pytest.param({"policies": ["messaging"]}, "", "", id="named and there"),
        pytest.param(
            {"policies": ["messaging", "identity", "contacts"]},
            "PolicyNotFound",
            "there is no SurgePolicy identity, contacts in the namespace",
            id="two of three are not there",
        ),
        pytest.param({"policySelector": {"matchLabels": {"tier": "1"}}}, "", "", id="selected"),
        pytest.param(
            {"policySelector": {"matchLabels": {"tier": "1", "zone": "a"}}},
            "NoPolicy",
            "no SurgePolicy in the namespace has the labels tier=1, zone=a",
            id="nobody has the labels",
        ),
    ],
)
def test_window_without_its_policies_says_whom_it_lacks(
    spec: dict[str, Any], reason: str, words: str
) -> None:
    fleet = Fleet()
    labelled = policy("messaging")
    labelled["metadata"]["labels"] = {"tier": "1"}
    fleet.note(Kind.POLICY, None, labelled)
    times = {"start": "2027-02-15T08:00:00Z", "end": "2027-02-15T09:00:00Z"}

    trouble = fleet.find_window_trouble(window_from_spec("w", {**times, "minReplicas": 5, **spec}))

    found = ("", "") if trouble is None else (trouble.reason, trouble.message)
    assert found == (reason, words)


def test_only_a_pod_of_the_service_reports_for_it_also_while_it_ends() -> None:
    fleet = Fleet()
    fleet.note(Kind.POLICY, None, policy("messaging"))
    fleet.note(Kind.DEPLOYMENT, None, deployment())
    for body in (
        pod("ready"),
        pod("starting", ready=False),
        pod("with.dots"),
        pod("leaving", deletionTimestamp="2026-01-02T00:00:00Z"),
        pod("stranger", labels={"component": "contacts"}),
        {**pod("failed"), "status": {"phase": "Failed"}},
    ):
        fleet.note(Kind.POD, "ADDED", body)
    names = ("ready", "starting", "with-dots", "leaving", "stranger", "failed", "invented")

    assert {name for name in names if fleet.is_replica("messaging", name)} == {
        "ready",
        "starting",
        "with-dots",
        "leaving",
    }
    assert not fleet.is_replica("contacts", "ready")
    fleet.note(Kind.POD, "DELETED", pod("ready"))
    assert not fleet.is_replica("messaging", "ready")
    fleet.note(Kind.POLICY, "DELETED", policy("messaging"))
    assert not fleet.is_replica("messaging", "starting")
