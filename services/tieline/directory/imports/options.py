"""What an import is asked to be: format, mode, and the guard against mass deletion. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from tieline.chassis.errors import FailedPreconditionError
from tieline.directory.imports.csv_rows import Encoding

# The open API's error 45026: more than 50 who are more than a fifth, or fewer who are nearly all.
_MANY_REMOVALS = 50
_MANY_RATIO = 0.2
_FEW_RATIO = 0.8


class Format(StrEnum):
    """How a file is laid out."""

    CSV = "csv"
    XLSX = "xlsx"


class Mode(StrEnum):
    """What a file does to the directory."""

    UPSERT = "upsert"
    REPLACE_MEMBERS = "replace_members"
    REPLACE_DEPARTMENTS = "replace_departments"


@dataclass(frozen=True, slots=True)
class Options:
    """What the file is and what it is to do."""

    format: Format = Format.CSV
    encoding: Encoding = Encoding.UTF_8
    mode: Mode = Mode.UPSERT
    is_dry_run: bool = False
    confirmed_removals: int = 0

    @property
    def needs_whole_file(self) -> bool:
        """Whether nothing can be decided before the last byte is here."""
        return self.format is Format.XLSX or self.mode is not Mode.UPSERT or self.is_dry_run


def is_mass_delete(removals: int, total: int) -> bool:
    """Tell whether so many removals out of so many are more than a file may ask for by itself."""
    if removals > _MANY_REMOVALS:
        return removals > _MANY_RATIO * total
    return removals > _FEW_RATIO * total


def check_removals(removals: int, total: int, confirmed: int) -> None:
    """Raise FailedPreconditionError for a mass deletion that was not confirmed as it is."""
    if is_mass_delete(removals, total) and removals != confirmed:
        raise FailedPreconditionError(
            "MASS_DELETE_REFUSED",
            f"the file would remove {removals} of {total}: correct it, or confirm that number "
            "(confirmed_removals) if it is meant",
            {"removals": str(removals), "total": str(total)},
        )
