"""What the demo's people say: the conversations of the chatterbot-corpus package."""

from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Any

import yaml

from tieline.demo.dialogues import Dialogue

LANGUAGES = ("chinese", "english")

# The limit of TextContent; a line or two of the corpus is longer.
MAX_TEXT_BYTES = 2048


def load_dialogues() -> list[Dialogue]:
    """Return all conversations of both languages, always in the same order."""
    return [dialogue for language in LANGUAGES for dialogue in _read_language(language)]


def _read_language(language: str) -> Iterator[Dialogue]:
    folder = resources.files("chatterbot_corpus") / "data" / language
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".yml"):
            content = yaml.load(file.read_bytes(), Loader=yaml.CSafeLoader)
            yield from _read_dialogues(content["conversations"])


def _read_dialogues(conversations: Sequence[Sequence[Any]]) -> Iterator[Dialogue]:
    for conversation in conversations:
        # Unquoted numbers and `Yes` are not text to YAML; empty answers are nothing to send.
        lines = (str(line).strip() for line in conversation if line is not None)
        dialogue = tuple(line for line in lines if 0 < len(line.encode()) <= MAX_TEXT_BYTES)
        if len(dialogue) > 1:
            yield dialogue
