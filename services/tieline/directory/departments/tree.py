"""Where in the tree a department may be. Pure.

A department with all below it is put under a parent: made there, moved there, or given another name
where it is. Which siblings have the name, and how much lies below, the caller has looked up.
"""

from dataclasses import dataclass

from tieline.chassis.errors import FailedPreconditionError
from tieline.directory.departments.rules import MAX_LEVELS, MAX_PATH_CHARACTERS, ROOT_PATH


@dataclass(frozen=True, slots=True)
class Place:
    """Where a department is."""

    path: str
    """Names from the root's child down to the department."""

    ancestor_ids: tuple[int, ...]
    """From the root down to the department itself."""

    @property
    def level(self) -> int:
        """Departments on the way down from the root: 0 for the root itself."""
        return len(self.ancestor_ids) - 1


@dataclass(frozen=True, slots=True)
class Extent:
    """How far the subtree of a department reaches beyond the department itself."""

    levels: int
    path_characters: int
    """Of the longest path in it, what comes behind the department's own path."""


LEAF = Extent(0, 0)


def plan_place(department_id: int, name: str, parent: Place, extent: Extent = LEAF) -> Place:
    """Return where the department is once it is under the parent by this name.

    FailedPreconditionError for a place within itself, and for one from where something in its
    subtree would reach too deep or have too long a path.
    """
    if department_id in parent.ancestor_ids:
        raise FailedPreconditionError(
            "DEPARTMENT_CYCLE", "a department can't be below itself: choose another parent"
        )
    path = f"{parent.path}/{name}" if parent.path != ROOT_PATH else name
    if parent.level + 1 + extent.levels > MAX_LEVELS:
        raise _too_deep_error(f"there may be {MAX_LEVELS} levels below the root", MAX_LEVELS)
    if len(path) + extent.path_characters > MAX_PATH_CHARACTERS:
        raise _too_deep_error(
            f"a path may have {MAX_PATH_CHARACTERS} characters: shorten the names",
            MAX_PATH_CHARACTERS,
        )
    return Place(path, (*parent.ancestor_ids, department_id))


def _too_deep_error(text: str, maximum: int) -> FailedPreconditionError:
    return FailedPreconditionError("DEPARTMENT_TOO_DEEP", text, {"maximum": str(maximum)})
