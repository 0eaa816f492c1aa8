"""Which test files share one running platform, and so one worker.

A platform costs more to start than most of these files take; those that break it leave it healthy.
"""

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

FILES = frozenset(
    f"tests/e2e/{name}"
    for name in (
        "test_app_messages.py",
        "test_audit_walk.py",
        "test_demo.py",
        "test_every_rpc.py",
        "test_kills_during_the_main_job.py",
        "test_linked_corp_tokens.py",
        "test_readme_example.py",
        "test_restore.py",
        "test_revocations.py",
        "test_surge.py",
        "test_up.py",
    )
)


class ByFileAndPlatform(LoadFileScheduling):  # type: ignore[misc]  # has no types
    """Gives out whole files, and those of the shared platform all together."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "the shared platform" if file in FILES else file

    def remove_node(self, node: WorkerController) -> str | None:
        """Return the test with which a worker ended, if one was running.

        It has failed, and what is left of its file goes on elsewhere; xdist would begin with the
        same test again, and end worker after worker, each after the test's full time. And it would
        give out once more the files that the worker had finished, which have nothing to run.
        """
        running: str | None = None
        for unit in self.assigned_work[node].values():
            running = next((name for name, is_done in unit.items() if not is_done), None)
            if running is not None:
                unit[running] = True
                break
        units = self.assigned_work[node].items()
        self.assigned_work[node] = {scope: unit for scope, unit in units if not all(unit.values())}
        super().remove_node(node)
        return running

    def _reschedule(self, node: WorkerController) -> None:
        """Give a worker two tests at least, or tell it that no more come.

        It begins a test once it knows the next one: with a single one, as a worker that takes the
        place of another may have, it waits for ever.
        """
        super()._reschedule(node)
        while not node.shutting_down and self._pending_of(self.assigned_work[node]) < 2:
            super()._reschedule(node)
