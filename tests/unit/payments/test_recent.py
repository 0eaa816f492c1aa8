"""The bounded memory of facts."""

from tieline.payments.recent import Recent


def test_what_was_used_last_is_kept() -> None:
    recent: Recent[str, int] = Recent(2)
    recent.remember("a", 1)
    recent.remember("b", 2)
    recent.find("a")

    recent.remember("c", 3)

    assert recent.find("a") == 1
    assert recent.find("b") is None
    assert recent.find("c") == 3


def test_empty_values_are_remembered_too() -> None:
    recent: Recent[str, dict[str, int]] = Recent(1)

    recent.remember("a", {})

    assert recent.find("a") == {}
