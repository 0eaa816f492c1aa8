"""The table of sizes in the manual follows from the figures and the formula beside it."""

import math
import re
from dataclasses import dataclass

import pytest
import yaml

from rendered_chart import CHART, EXAMPLES, ROOT, example_values, merged
from tieline.chassis.settings import ServiceSettings
from tieline.directory.app import SEARCH_CONNECTIONS
from tieline.directory.exports.servicer import MAX_EXPORTS
from tieline.messaging.app_messages.runner import JOB_CONNECTIONS

PAGE = (ROOT / "docs" / "operations" / "sizing.md").read_text(encoding="utf-8")
DEFAULTS = yaml.load((CHART / "values.yaml").read_text(encoding="utf-8"), yaml.CSafeLoader)[
    "defaults"
]

# Assumed, as the page says.
MESSAGES_A_DAY = 30
IN_BUSIEST_HOUR = 0.1
ONLINE = 0.3
PLANNED_CALLS = 1_000
ONLINE_PER_POD = 8_000

# The outbox's relay has a connection of its own, in every replica.
CONNECTIONS = int(ServiceSettings.model_fields["database_pool_max_size"].default) + 1
OF_THE_DIRECTORY = SEARCH_CONNECTIONS + MAX_EXPORTS
# And one while retention is applied.
OF_MESSAGING = JOB_CONNECTIONS + 1


def figure(text: str) -> float:
    """Return the one number that the page's list of measurements has for this."""
    (row,) = re.findall(rf"^\| {re.escape(text)}.*?\| [^|0-9]*([\d,.]+)", PAGE, re.MULTILINE)
    return float(row.replace(",", ""))


@dataclass(frozen=True)
class Plan:
    """A platform of so many members in its busiest hour, on a day of so many times the usual."""

    members: int
    times: int

    @property
    def per_second(self) -> float:
        """Messages a second, and calls a second of each of the four other services."""
        return self.members * MESSAGES_A_DAY * IN_BUSIEST_HOUR / 3600 * self.times

    @property
    def pods(self) -> tuple[int, int]:
        """Pods of messaging, and of each other service."""
        by_calls = max(2, math.ceil(self.per_second / PLANNED_CALLS))
        by_memory = math.ceil(self.members * ONLINE / ONLINE_PER_POD)
        return max(by_calls, by_memory), by_calls

    @property
    def busy_cores(self) -> float:
        """Cores that the services keep busy; half of a message's CPU is PostgreSQL's."""
        of_messaging = self.per_second / (2 * figure("one message a call"))
        return of_messaging + 4 * self.per_second / figure("a replica of a mixed service, full")

    @property
    def memory_gb(self) -> float:
        """Memory in use when all who are online have a subscription."""
        messaging, others = self.pods
        subscriptions = self.members * ONLINE * figure("an open subscription") / 1e6
        return (messaging * 128 + 4 * others * 256) / 1e3 + subscriptions

    @property
    def connections(self) -> int:
        """Connections to PostgreSQL at most, with the pods that an update adds."""
        percent = int(DEFAULTS["maxSurge"].removesuffix("%"))
        messaging, others = (n + math.ceil(n * percent / 100) for n in self.pods)
        pods = messaging + 4 * others
        return pods * CONNECTIONS + others * OF_THE_DIRECTORY + messaging * OF_MESSAGING

    @property
    def row(self) -> str:
        """The row of the table."""
        messaging, others = self.pods
        cpu = float(DEFAULTS["resources"]["requests"]["cpu"].removesuffix("m")) / 1000
        cells = (
            f"{self.members:,}",
            "tenfold" if self.times > 1 else "usual",
            f"{self.per_second:,.3g}" if self.per_second < 100 else f"{self.per_second:,.0f}",
            f"{messaging}, {others} each",
            f"{self.busy_cores:.1g}" if self.busy_cores < 1 else f"{self.busy_cores:.0f}",
            f"{(messaging + 4 * others) * cpu:g}",
            f"{self.memory_gb:.1f} GB",
            f"{self.connections:,}",
        )
        return f"| {' | '.join(cells)} |"


@pytest.mark.parametrize("times", [1, 10])
@pytest.mark.parametrize("members", [1_000, 36_000, 300_000, 1_000_000])
def test_row_of_the_table_follows_from_the_figures(members: int, times: int) -> None:
    assert Plan(members, times).row in PAGE.splitlines()


def test_storage_of_the_table_follows_from_the_figures() -> None:
    for members in (1_000, 36_000, 300_000, 1_000_000):
        growth_gb = members * MESSAGES_A_DAY * 0.8e3 / 1e9
        week_gb = members * MESSAGES_A_DAY * 7 * 500 / 1e9

        assert f"| {members:,} | {growth_gb:.3g} GB | {week_gb:.3g} GB |" in PAGE


def test_connections_of_a_pod_are_those_that_the_manual_counts() -> None:
    install = (ROOT / "docs" / "operations" / "install.md").read_text(encoding="utf-8")

    for page in (PAGE, install):
        words = " ".join(page.split())
        assert (
            f"times {CONNECTIONS}, {OF_THE_DIRECTORY} more for each of the directory and"
            f" {OF_MESSAGING} more for each of messaging" in words
        )


@pytest.mark.parametrize("example", ["production", "citus"])
def test_postgresql_of_an_example_has_connections_for_all_pods_that_may_come(example: str) -> None:
    text = (EXAMPLES[example].parent / "postgresql.yaml").read_text(encoding="utf-8")
    cluster = next(yaml.load_all(text, yaml.CSafeLoader))
    values = merged({"defaults": DEFAULTS, "surge": {}}, example_values(example))
    most_of_one = values["defaults"]["surge"]["maxReplicas"]
    # Of the five policies together, and each one's pods that an update adds.
    most = values["surge"].get("clusterRoomPods") or 5 * most_of_one
    pods = math.ceil(most * 1.25) + 5
    of_one = math.ceil(most_of_one * 1.25)

    needed = pods * CONNECTIONS + of_one * (OF_THE_DIRECTORY + OF_MESSAGING) + 10

    assert int(cluster["spec"]["postgresql"]["parameters"]["max_connections"]) >= needed
