"""The short form: a few people with lines of their own, for a platform that others use as well.

Needs nothing but what the image has, and no more room than a temporary file.
"""

from pathlib import Path

from tieline.demo.staff_file import Pools, make_staff, write_staff_file
from tieline.demo.stage import Material, Scale

POOLS = Pools(
    last_names=("王", "李", "张", "刘", "陈", "杨", "赵", "黄", "周", "吴", "徐", "孙"),
    first_names=("伟", "芳", "秀英", "敏", "静", "磊", "洋", "艳", "勇", "娟", "涛", "志强"),
    jobs=("会计", "法务", "采购", "设计师", "人事"),
    cities=("北京", "上海", "广州", "成都", "武汉", "西安"),
    mobile_prefixes=("130", "138", "186"),
)

# All of the day's parts, each with the fewest people that show something.
SCALE = Scale(
    seed=20260224,
    staff=24,
    lines=90,
    colleagues=8,
    customers=len(POOLS.last_names),
    share_count=8,
    packet_minor=2_000,
)

DIALOGUES = (
    ("早上好,今天店庆几点开门?", "九点半开门,八点半全员到岗。", "好的,我八点到。"),
    ("新到的金镯上架了吗?", "上了三十只,还有十只在路上。", "下午到了告诉我。", "收到。"),
    ("库存表有一行对不上。", "哪一行?", "编号 1047,差一枚。", "找到了,在保险柜里。"),
    ("Has the courier been here?", "At ten, two parcels.", "Thanks, I'll sign for them."),
    ("Which price holds from Monday?", "The one in the notice.", "Then the labels are right."),
    ("谁替我明天的班?", "我可以。", "多谢,周末我替你。"),
    ("客户问保养的事。", "免费清洗,凭小票。", "好,我回复她。"),
    ("红包发了吗?", "十点准时发。"),
)


def make_material(folder: Path) -> Material:
    """Return what the short day is made of; its staff file goes into the folder."""
    staff_file = folder / "staff.csv"
    write_staff_file(staff_file, make_staff(SCALE.seed, SCALE.staff, POOLS))
    return Material(
        # A name by which whoever runs the platform knows what it is.
        corp_name="Tieline short demo",
        staff_file=staff_file,
        customer_names=[f"{last_name}女士" for last_name in POOLS.last_names],
        dialogues=DIALOGUES,
    )
