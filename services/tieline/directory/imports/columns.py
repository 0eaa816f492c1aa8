"""The columns of import and export files, and by which names a header may call them. Pure."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from tieline.directory.imports.csv_rows import CsvMalformedError, CsvRecord

USER_ID = "user_id"
DEPARTMENT = "department"
DEPARTMENT_ORDER = "department_order"
IS_LEADER = "is_leader"
STATE = "state"

# What a member's row says in texts, in the order of `MemberRow.fields`; of the profile the
# hexadecimal digits of its message.
FIELD_COLUMNS = (
    "name",
    "alias",
    "gender",
    "position",
    "mobile",
    "telephone",
    "email",
    "biz_email",
    "address",
    "direct_leader",
    "external_position",
    "avatar_media_id",
    "external_profile",
)

MEMBER_COLUMNS = (
    *(USER_ID, "name", DEPARTMENT, DEPARTMENT_ORDER, IS_LEADER),
    *FIELD_COLUMNS[1:],
    STATE,
)
REQUIRED_MEMBER_COLUMNS = (USER_ID, "name", DEPARTMENT)

DEPARTMENT_COLUMNS = ("name", "id", "parent_id", "order", "name_en", "leaders")
REQUIRED_DEPARTMENT_COLUMNS = ("name", "id", "parent_id")

# Far more than there are columns to know: beyond it the file is something else.
MAX_COLUMNS = 64

# As the files that people have call them.
_CHINESE_MEMBER_COLUMNS = {
    "账号": USER_ID,
    "帐号": USER_ID,
    "成员账号": USER_ID,
    "姓名": "name",
    "部门": DEPARTMENT,
    "所在部门": DEPARTMENT,
    "部门内排序": DEPARTMENT_ORDER,
    "部门负责人": IS_LEADER,
    "是否部门负责人": IS_LEADER,
    "别名": "alias",
    "性别": "gender",
    "职务": "position",
    "职位": "position",
    "手机": "mobile",
    "手机号": "mobile",
    "手机号码": "mobile",
    "座机": "telephone",
    "电话": "telephone",
    "邮箱": "email",
    "个人邮箱": "email",
    "电子邮箱": "email",
    "企业邮箱": "biz_email",
    "地址": "address",
    "直属上级": "direct_leader",
    "直接上级": "direct_leader",
    "对外职务": "external_position",
    "对外职位": "external_position",
    "头像": "avatar_media_id",
    "对外资料": "external_profile",
    "对外信息": "external_profile",
    "状态": STATE,
    "激活状态": STATE,
}

MEMBER_HEADERS: Mapping[str, str] = MappingProxyType(
    {**_CHINESE_MEMBER_COLUMNS, **{name: name for name in MEMBER_COLUMNS}, "userid": USER_ID}
)
"""What a header may say -> the column that it means."""

DEPARTMENT_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        **{name: name for name in DEPARTMENT_COLUMNS},
        "部门名称": "name",
        "名称": "name",
        "部门id": "id",
        "上级部门id": "parent_id",
        "父部门id": "parent_id",
        "parentid": "parent_id",
        "排序": "order",
        "英文名": "name_en",
        "英文名称": "name_en",
        "负责人": "leaders",
        "部门负责人": "leaders",
    }
)


class Header:
    """Which column stands where in a file."""

    def __init__(
        self,
        record: CsvRecord,
        known: Mapping[str, str],
        required: Collection[str],
        attribute_names: Collection[str] = (),
    ) -> None:
        """Read the first record, or raise CsvMalformedError."""
        self.names = [value.strip() for value in record.values]
        # A name that is both means the column: its meaning is the same in every corp.
        columns = [known.get(name.lower()) for name in self.names]
        problem = record.problem or _find_problem(
            self.names, columns, known, required, attribute_names
        )
        if problem:
            raise CsvMalformedError(record.line, f"the header {problem}")
        self.places = {column: at for at, column in enumerate(columns) if column is not None}
        self.attribute_places = {
            name: at
            for at, (name, column) in enumerate(zip(self.names, columns, strict=True))
            if column is None
        }

    @property
    def width(self) -> int:
        """How many values a row has."""
        return len(self.names)

    def name_of(self, column: str) -> str:
        """Return what this file's header calls the column."""
        return self.names[self.places[column]]


def _find_problem(
    names: Sequence[str],
    columns: Sequence[str | None],
    known: Mapping[str, str],
    required: Collection[str],
    attribute_names: Collection[str],
) -> str:
    if len(names) > MAX_COLUMNS:
        return f"must have at most {MAX_COLUMNS} columns"
    missing = [column for column in required if column not in columns]
    if missing:
        return f"lacks {', '.join(missing)}"
    unknown = [
        name
        for name, column in zip(names, columns, strict=True)
        if column is None and name not in attribute_names
    ]
    if unknown:
        # Of something that is no header, not more than tells what it is.
        known_columns = ", ".join(dict.fromkeys(known.values()))
        return f"has the unknown column {unknown[0][:64]!r}; known are {known_columns}"
    named = [column or f"attribute {name}" for name, column in zip(names, columns, strict=True)]
    if len(set(named)) < len(named):
        return "has a column twice"
    return ""
