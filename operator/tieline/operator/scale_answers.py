"""What the API has acknowledged of the operator's scales and no watch has shown yet. Pure.

Watches lag, most when much happens. Whoever decides by what they show takes a need between what
was before and what was just written for a raise, and writes less than is there.
"""


class ScaleAnswers:
    """The replicas of each Deployment as of the last answer, until they are seen."""

    def __init__(self) -> None:
        self._written: dict[str, int] = {}
        self._late: dict[str, frozenset[int]] = {}
        """What a watch may still show of before the last answer."""

    def note(self, target: str, replicas: int, shown: int) -> None:
        """Take an answer in; ``shown`` is what the watches say meanwhile."""
        late = self._late.get(target, frozenset()) | {shown, self._written.get(target, shown)}
        self.forget(target)
        if shown != replicas:
            self._written[target] = replicas
            self._late[target] = late - {replicas}

    def note_shown(self, target: str, replicas: int) -> None:
        """Take in what a watch says: the past changes nothing, all else is newer."""
        if replicas not in self._late.get(target, frozenset()):
            self.forget(target)

    def forget(self, target: str) -> None:
        """Drop an answer: a list has told what is newer, or the Deployment is gone."""
        self._written.pop(target, None)
        self._late.pop(target, None)

    def replicas_of(self, target: str, shown: int) -> int:
        """Return the replicas that a target asks for, of which watches have ``shown`` some."""
        return self._written.get(target, shown)
