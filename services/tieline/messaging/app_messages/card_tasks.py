"""Each task id names one card of an app: what is sent again under the same one is refused."""

from collections.abc import Sequence

from tieline.chassis.errors import AlreadyExistsError, ServiceError
from tieline.chassis.postgres import Connection
from tieline.chassis.principals import PrincipalKind
from tieline.messaging.messages.rules import Send
from tieline.messaging.repositories.card_tasks import CardTask, claim_tasks
from tieline.messaging.repositories.participants import UserKey
from tieline.messaging.sending.numbering import SendFacts


def task_id_used_error(task_id: str) -> AlreadyExistsError:
    """Return the error for a card under a task id of an earlier one."""
    return AlreadyExistsError(
        "TASK_ID_USED",
        "the app has a card of this task_id; choose another",
        {"taskId": task_id},
    )


async def claim_task(connection: Connection, task: CardTask) -> None:
    """Give the task id to the card that is sent in this transaction; refuse one that is taken."""
    if task.task_id and not await claim_tasks(connection, [task]):
        raise task_id_used_error(task.task_id)


async def claim_other_task(
    connection: Connection, app: UserKey, task_id: str, current_task_id: str
) -> None:
    """Give a task id to the card that took the place of another; that one's own it just keeps.

    The last lock of its transaction, as in every send: who waits for it holds up nobody else.
    """
    if task_id != current_task_id:
        await claim_task(connection, CardTask(app[0], app[1].id, task_id))


async def find_task_refusals(
    connection: Connection, sends: Sequence[Send], facts: Sequence[SendFacts]
) -> dict[int, ServiceError]:
    """Claim the task ids of what is stored; return what is refused, by the index of the send.

    Most messages are no cards of apps. A job has claimed its own before. Of two cards of one batch
    the first has the id.
    """
    wanted = {
        index: CardTask(send.corp_id, send.sender.id, send.task_id)
        for index, send in enumerate(sends)
        if send.task_id and _claims(send, facts[index])
    }
    if not wanted:
        return {}
    free = set(await claim_tasks(connection, set(wanted.values())))
    refusals: dict[int, ServiceError] = {}
    for index, task in wanted.items():
        if task in free:
            free.remove(task)
        else:
            refusals[index] = task_id_used_error(task.task_id)
    return refusals


def _claims(send: Send, known: SendFacts) -> bool:
    is_new = known.participating and known.repeated is None and known.refusal is None
    return is_new and send.sender.kind == PrincipalKind.APP.value and not send.was_counted
