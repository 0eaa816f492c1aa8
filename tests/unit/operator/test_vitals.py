"""What the probes find, and when they say so."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping

import pytest

from tieline.embedded.ports import find_free_port
from tieline.operator.probes import serving_probes
from tieline.operator.resources import Kind
from tieline.operator.vitals import MAX_LOOP_LAG_S, MAX_TICK_AGE_S, MAX_WATCH_AGE_S, Vitals

ALIVE, READY = "/healthz", "/readyz"


class Clock:
    """Stands until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def ask(port: int, path: str) -> tuple[int, Mapping[str, object]]:
    url = f"http://127.0.0.1:{port}{path}"
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.mark.parametrize(
    ("passed_s", "goes_on", "alive", "ready"),
    [
        pytest.param(0.0, (), 200, 200, id="just begun"),
        pytest.param(MAX_TICK_AGE_S, ("beat",), 200, 200, id="a slow tick"),
        pytest.param(MAX_TICK_AGE_S + 1, ("beat",), 503, 503, id="a tick that stalls"),
        pytest.param(MAX_LOOP_LAG_S + 1, ("tick",), 503, 503, id="a loop that stands still"),
        pytest.param(MAX_WATCH_AGE_S + 1, ("beat", "tick"), 200, 503, id="a cluster out of sight"),
        pytest.param(9999.0, ("beat", "tick", "listed"), 200, 200, id="a quiet cluster, listed"),
        pytest.param(9999.0, ("beat", "tick", "seen"), 200, 200, id="a cluster that is watched"),
    ],
)
def test_probes_tell_what_stands_still(
    passed_s: float, goes_on: tuple[str, ...], alive: int, ready: int
) -> None:
    clock = Clock()
    vitals = Vitals(clock)
    beats = range(0, int(passed_s * 100), 25) if "beat" in goes_on else ()
    for hundredths in beats:
        clock.now = 1000.0 + hundredths / 100
        vitals.note_beat()
    clock.now = 1000.0 + passed_s
    if "tick" in goes_on:
        vitals.note_tick()
    if "seen" in goes_on:
        for kind in Kind:
            vitals.note_seen(kind)
    if "listed" in goes_on:
        for kind in Kind:
            vitals.note_listed(kind)

    with serving_probes(find_free_port(), vitals.read) as port:
        statuses = {path: ask(port, path) for path in (ALIVE, READY)}

    assert {path: status for path, (status, _) in statuses.items()} == {ALIVE: alive, READY: ready}
    assert bool(statuses[READY][1]["problems"]) is (ready == 503)


def test_list_does_not_make_a_silent_watch_look_alive() -> None:
    """A probe counts both; whoever looks into a lagging watch sees each."""
    clock = Clock()
    vitals = Vitals(clock)
    clock.now += 40
    vitals.note_listed(Kind.DEPLOYMENT)

    signs = vitals.read()

    assert signs.watch_ages_s["deployments"] == 40
    assert signs.list_ages_s["deployments"] == 0


def test_lag_that_is_over_is_told_for_some_seconds() -> None:
    clock = Clock()
    vitals = Vitals(clock)
    vitals.note_beat()
    clock.now += 3.25
    vitals.note_beat()

    assert vitals.read().loop_lag_s == 3.0
    for _ in range(40):
        clock.now += 0.25
        vitals.note_beat()
    assert vitals.read().loop_lag_s == 0.0
