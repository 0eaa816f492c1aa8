"""The chart's NATS users are those of the code."""

import json

from docs import generate_chart

from rendered_chart import CHART, component, example_values, of_kind, render
from tieline.chassis.streams import NATS_USERS


def test_permissions_of_the_chart_are_those_of_the_code() -> None:
    table = json.loads((CHART / "files" / "nats-permissions.json").read_text(encoding="utf-8"))

    assert table == generate_chart.nats_permissions()
    assert table.keys() == set(NATS_USERS)


def test_every_user_of_the_trial_has_a_password_of_its_own() -> None:
    (secret,) = of_kind(render(example_values("trial")), "Secret")
    (nats,) = (
        each
        for each in of_kind(render(example_values("trial")), "StatefulSet")
        if component(each) == "nats"
    )
    environment = nats["spec"]["template"]["spec"]["containers"][0]["env"]
    keys = {each["name"]: each["valueFrom"]["secretKeyRef"]["key"] for each in environment}

    assert keys.keys() == {f"{user.upper()}_PASSWORD" for user in (*NATS_USERS, "migrations")}
    assert len(set(secret["data"].values())) == len(secret["data"])
    assert set(keys.values()) <= secret["data"].keys()
