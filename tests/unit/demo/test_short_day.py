"""The short day is small, and still has everything in it that the checks are about."""

import csv
from pathlib import Path

from tieline.demo.conversations import VOICES
from tieline.demo.dialogues import take_dialogues
from tieline.demo.onboarding import MIN_COLLEAGUES
from tieline.demo.short_day import SCALE, make_material


def test_staff_file_has_the_staff_and_a_tree_of_departments(tmp_path: Path) -> None:
    with make_material(tmp_path).staff_file.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))

    assert len({row["user_id"] for row in rows}) == len(rows) == SCALE.staff
    assert len({row["mobile"] for row in rows}) == SCALE.staff
    assert any("/" in row["department"] for row in rows)


def test_enough_people_take_part_and_somebody_finds_the_packet_empty(tmp_path: Path) -> None:
    material = make_material(tmp_path)

    assert MIN_COLLEAGUES <= SCALE.colleagues <= SCALE.staff
    assert len(set(material.customer_names)) == SCALE.customers > SCALE.share_count


def test_everybody_finds_something_to_say(tmp_path: Path) -> None:
    dialogues = make_material(tmp_path).dialogues
    conversations = SCALE.colleagues // 2 + 2

    assert all(len(dialogue) > 1 for dialogue in dialogues)
    assert len(take_dialogues(dialogues, SCALE.lines)) >= conversations * VOICES
