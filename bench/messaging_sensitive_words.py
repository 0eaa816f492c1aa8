"""What it costs to look for 10,000 words in a text of 200 bytes, beside asking for each with `in`.

In CPU time, so that what else the machine does tells less. The texts are Chinese, as most are, and
English with spaces, which must be squeezed; none has a word.
"""

import random
import time
from collections.abc import Callable, Sequence

from bench.harness import Benchmark, Figure, summarise
from tieline.messaging.compliance.sensitive_words import (
    CLEAN,
    MAX_WORDS,
    WordAction,
    WordMatcher,
    normalise,
)

NAMES = (
    "messaging.sensitive_words_us.chinese",
    "messaging.sensitive_words_us.english",
    "messaging.sensitive_words_us.bare_in",
)

_RUNS = 5
_TEXT_BYTES = 200
_MATCHES = 2000
_BARE_MATCHES = 20
_CHINESE = [chr(0x4E00 + offset) for offset in range(3000)]


async def _run() -> Sequence[Figure]:
    chance = random.Random(7)
    words = _make_words(chance)
    matcher = WordMatcher(dict.fromkeys(words, WordAction.FLAG))
    chinese = _make_text(lambda: chance.choice(_CHINESE))
    english = _make_text(lambda: chance.choice("etaoinshrdlu   "))
    assert all(matcher.screen(text) is CLEAN for text in (chinese, english)), "no word is in them"

    values: dict[str, list[float]] = {name: [] for name in NAMES}
    for _ in range(_RUNS):
        values[NAMES[0]].append(_measure_us(lambda: matcher.screen(chinese), _MATCHES))
        values[NAMES[1]].append(_measure_us(lambda: matcher.screen(english), _MATCHES))
        values[NAMES[2]].append(
            _measure_us(lambda: [word for word in words if word in chinese], _BARE_MATCHES)
        )
    bare = values[NAMES[2]]
    return [
        summarise(name, values[name], "µs", against=NAMES[2], against_values=bare)
        for name in NAMES[:2]
    ] + [summarise(NAMES[2], bare, "µs")]


def _measure_us(match: Callable[[], object], repetitions: int) -> float:
    begin = time.process_time()
    for _ in range(repetitions):
        match()
    return (time.process_time() - begin) / repetitions * 1e6


def _make_words(chance: random.Random) -> list[str]:
    words: set[str] = set()
    while len(words) < MAX_WORDS:
        # Of characters that the texts do not have next to each other.
        length = chance.randint(2, 6)
        words.add(normalise("".join(chance.choices(_CHINESE, k=length)) + chance.choice("甲乙丙")))
    return sorted(words)


def _make_text(draw: Callable[[], str]) -> str:
    text = ""
    while len(text.encode()) + 3 <= _TEXT_BYTES:
        text += draw()
    return text


BENCHMARKS = (Benchmark(NAMES, _run),)
