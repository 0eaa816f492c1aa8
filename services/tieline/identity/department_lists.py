"""Lists of departments as administrators give them: of a range, of what a link shares. Pure."""

from collections.abc import Sequence

# A range stands in each access token: a hundred ids are about a kilobyte.
MAX_DEPARTMENTS = 100


def check_department_ids(
    department_ids: Sequence[int], field: str, violations: dict[str, str]
) -> None:
    """Refuse too many, repeated or impossible departments. Whether they exist is not asked."""
    if len(department_ids) > MAX_DEPARTMENTS:
        violations[field] = f"must be at most {MAX_DEPARTMENTS}"
        return
    seen: set[int] = set()
    for index, department_id in enumerate(department_ids):
        if department_id < 1:
            violations[f"{field}[{index}]"] = "must be 1 or more"
        elif department_id in seen:
            violations[f"{field}[{index}]"] = "must not be there twice"
        seen.add(department_id)
