"""What the operator has learned outlives it, and what is not its own disturbs nothing."""

import dataclasses
import json
import random
import zlib
from collections.abc import Callable

import pytest

from fakes.eventually import eventually
from fakes.memory_cluster import MemoryCluster
from fleets import policy, service
from tieline.operator import memory_keeper
from tieline.operator.capacity import Learned
from tieline.operator.decision_state import FleetState, ServiceInput, ServiceState
from tieline.operator.floors import Baseline
from tieline.operator.memory import MAX_TOTAL_BYTES, Remembered, pack, recall, remember, unpack
from tieline.operator.memory_keeper import MemoryKeeper
from tieline.operator.season import SLOTS, WEEKS_KEPT, Season
from tieline.operator.state_json import to_json

NAME = "tieline-operator-memory"
GIVEN = {"messaging": service(100.0)}
WEEKS = Season(3, 7.0, ((50.0, 60.0),) * SLOTS)
LEARNED = ServiceState(
    learned=Learned(80.0, (4.0, 6.5)),
    season=WEEKS,
    fanouts=(("payments", 0.5),),
    baselines=(Baseline("holiday", 1.0, 8),),
)


def keeper(
    cluster: MemoryCluster,
    *,
    may_write: bool = True,
    is_policy: Callable[[str], bool] = lambda _: True,
) -> MemoryKeeper:
    return MemoryKeeper(cluster, NAME, may_write=lambda: may_write, is_policy=is_policy)


async def lived(cluster: MemoryCluster, *, may_write: bool = True) -> None:
    """Let an operator learn something and be told to stop."""
    one = keeper(cluster, may_write=may_write)
    async with one.keeping():
        one.recall(FleetState(), GIVEN)
        one.note(FleetState({"messaging": LEARNED}), GIVEN)


async def recalled(
    cluster: MemoryCluster, given: dict[str, ServiceInput] | None = None
) -> ServiceState:
    """Return what an operator that begins knows of messaging."""
    one = keeper(cluster, may_write=False)
    async with one.keeping():
        state = one.recall(FleetState(), GIVEN if given is None else given)
    return state.services.get("messaging", ServiceState())


async def test_restart_keeps_what_was_learned() -> None:
    cluster = MemoryCluster()

    await lived(cluster)

    assert await recalled(cluster) == LEARNED


async def test_standby_writes_nothing() -> None:
    cluster = MemoryCluster()

    await lived(cluster, may_write=False)

    assert cluster.memories == {}


async def test_operator_writes_now_and_then_without_being_stopped() -> None:
    cluster = MemoryCluster()
    one = MemoryKeeper(
        cluster, NAME, may_write=lambda: True, is_policy=lambda _: True, save_interval_s=0.01
    )
    async with one.keeping():
        one.recall(FleetState(), GIVEN)
        one.note(FleetState({"messaging": LEARNED}), GIVEN)
        await eventually(lambda: cluster.memories.get(NAME))
        assert unpack(cluster.memories[NAME]["messaging"]).season == WEEKS


async def test_place_that_is_missing_is_made_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_keeper, "FIRST_SAVE_S", 0.01)
    cluster = MemoryCluster()
    async with keeper(cluster).keeping():
        await eventually(lambda: cluster.memories == {NAME: {}})


async def test_place_that_may_not_be_made_is_missed_in_words_until_somebody_makes_it() -> None:
    cluster = MemoryCluster()
    cluster.may_create = False
    one = keeper(cluster)
    async with one.keeping():
        assert one.problem == ""
        await one.save()
        assert one.problem == f"there is no ConfigMap {NAME}"
        cluster.memories[NAME] = {}
        await one.save()
        assert one.problem == ""


async def test_nothing_is_overwritten_that_could_not_be_read() -> None:
    cluster = MemoryCluster()
    await lived(cluster)
    stored = cluster.memories[NAME]
    cluster.is_away = True
    one = keeper(cluster)
    async with one.keeping():
        one.note(one.recall(FleetState({"messaging": ServiceState()}), GIVEN), GIVEN)
        await one.save()
        cluster.is_away = False
        await one.save()
        # What it has learned itself meanwhile stays.
        own = ServiceState(learned=Learned(70.0, ()))
        state = one.recall(FleetState({"messaging": own}), GIVEN)

    assert cluster.memories[NAME] == stored
    assert state.services["messaging"] == dataclasses.replace(
        LEARNED, learned=Learned(70.0, (4.0, 6.5))
    )


async def test_what_could_not_be_read_at_the_start_is_read_soon_and_put_before_what_is_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The slots of the minutes between are the newest week's."""
    monkeypatch.setattr(memory_keeper, "READ_INTERVAL_S", 0.01)
    cluster = MemoryCluster()
    await lived(cluster)
    number = 40 * SLOTS + 10
    own = Season(number, 5.0, tuple((70.0,) if slot == 9 else () for slot in range(SLOTS)))
    before, found = FleetState({"messaging": ServiceState(season=own)}), []
    cluster.is_away = True
    one = keeper(cluster)

    def is_found() -> bool:
        found.append(one.recall(before, GIVEN))
        return found[-1] is not before

    async with one.keeping():
        assert not is_found()
        cluster.is_away = False
        await eventually(is_found)
        one.note(found[-1], GIVEN)
    season = (await recalled(cluster)).season

    assert (season.slot_number, season.slot_peak) == (number, 5.0)
    assert [season.weeks[slot] for slot in (3, 8, 9)] == [
        (50.0, 60.0, WEEKS.slot_peak),
        (50.0, 60.0),
        (50.0, 60.0, 70.0),
    ]


async def test_policy_that_is_in_trouble_for_a_moment_keeps_its_past() -> None:
    cluster = MemoryCluster()
    one = keeper(cluster)
    async with one.keeping():
        one.recall(FleetState(), GIVEN)
        one.note(FleetState({"messaging": LEARNED}), GIVEN)
        # Its Deployment is gone: nothing is decided, and what is decided is all that is remembered.
        one.note(one.recall(FleetState(), {}), {})
        await one.save()
        back = one.recall(FleetState(), GIVEN)

    assert back.services["messaging"] == LEARNED
    assert await recalled(cluster) == LEARNED


async def test_policy_that_is_gone_is_forgotten() -> None:
    cluster = MemoryCluster()
    await lived(cluster)

    async with keeper(cluster, is_policy=lambda _: False).keeping():
        pass

    assert cluster.memories[NAME] == {}


async def test_policy_of_another_deployment_begins_anew() -> None:
    cluster = MemoryCluster()
    await lived(cluster)
    other = {"messaging": service(100.0, policy=policy(targetRef={"name": "messaging-2"}))}

    assert await recalled(cluster, other) == ServiceState()


def changed(**fields: object) -> bytes:
    text = json.loads(to_json(remember(LEARNED, "messaging")))
    return zlib.compress(json.dumps(text | fields).encode())


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"", "cut off", id="nothing"),
        pytest.param(b"????", "not packed", id="no bytes of ours"),
        pytest.param(changed()[:-9], "cut off", id="cut off"),
        pytest.param(zlib.compress(b" " * 2_000_000), "more than", id="a bomb"),
        pytest.param(zlib.compress(b"\xff"), "utf-8", id="no text"),
        pytest.param(zlib.compress(b"[]"), "not a Remembered", id="no object"),
        pytest.param(zlib.compress(b"{}"), "not a Remembered", id="no fields"),
        pytest.param(changed(version=2), "of version 2", id="of a later version"),
        pytest.param(changed(starts_s=["soon"]), "could not convert", id="a word for a number"),
        pytest.param(changed(starts_s=[float("nan")]), "a number that is none", id="no number"),
        pytest.param(changed(capacity_per_s=-1.0), "below 0", id="below 0"),
        pytest.param(changed(target=None, baselines=[1]), "not a Remembered", id="no baseline"),
        pytest.param(
            changed(baselines=[{"window": "w", "start_time": 1, "replicas": "2"}]),
            "other kinds",
            id="a word for replicas",
        ),
        pytest.param(changed(season=None), "not a Remembered", id="no season"),
        pytest.param(
            changed(season={"slot_number": 0, "slot_peak": 0, "weeks": [[1.0]]}),
            "a week of 1 slots",
            id="a week of one slot",
        ),
        pytest.param(
            changed(season={"slot_number": 0, "slot_peak": 0, "weeks": [[1.0] * 9] * SLOTS}),
            "too many weeks",
            id="nine weeks",
        ),
    ],
)
async def test_what_the_operator_did_not_write_is_ignored_and_told(
    data: bytes, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = MemoryCluster()
    cluster.memories[NAME] = {"messaging": data, "identity": changed(target="identity")}
    identity = service(1.0, name="identity", policy=policy(targetRef={"name": "identity"}))

    with pytest.raises(ValueError, match=words):
        unpack(data)
    assert await recalled(cluster) == ServiceState()
    assert f"what messaging in {NAME} says is ignored" in caplog.text
    # One entry that is none leaves the others.
    one = keeper(cluster)
    await one.read()
    assert one.recall(FleetState(), {"identity": identity}).services["identity"] == LEARNED


def test_whole_fleet_fits_and_beyond_that_those_that_ask_for_the_season_come_first() -> None:
    chance = random.Random(1)

    def busy() -> Remembered:
        weeks = tuple(
            tuple(float(f"{chance.uniform(1, 99_999):.4g}") for _ in range(WEEKS_KEPT))
            for _ in range(SLOTS)
        )
        return remember(dataclasses.replace(LEARNED, season=Season(1, 1.0, weeks)), "messaging")

    # No load is as random as this, which packs worse than any.
    some = [busy() for _ in range(5)]
    known = {f"policy-{number:02}": some[number % 5] for number in range(60)}

    packed = pack(known, {"policy-59"})

    assert sum(map(len, packed.values())) <= MAX_TOTAL_BYTES
    assert packed.keys() == known.keys()
    assert unpack(packed["policy-59"]) == known["policy-59"]
    sizes = sorted(map(len, packed.values()))
    assert sizes[-35] > 20_000
    least = next(unpack(data) for data in packed.values() if len(data) == sizes[0])
    assert (least.season, least.starts_s) == (Season(), (4.0, 6.5))


def test_recalling_what_is_not_known_changes_nothing() -> None:
    state = FleetState({"messaging": LEARNED})

    assert recall(state, [service(100.0)], {}) is state
