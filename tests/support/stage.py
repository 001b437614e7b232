"""What the tests of real workers set up alike: a ledger, a log, an app beside the one of the workers, supervisors."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from outlast import Outlast, Settings
from tests.support.ledger import Ledger
from tests.support.supervise import Supervised, supervised

__all__ = ["Stage", "declaring_alike"]


def declaring_alike(declared: Outlast, settings: Settings, *, whole: bool = False) -> Outlast:
    """Return an app of the same name with the same jobs, and settings of its own. whole: also queues and exchanges."""
    app = Outlast(declared.name, settings=settings)
    if whole:
        for exchange in declared.registry.exchanges.values():
            app.registry.add_exchange(exchange)
        for queue in declared.registry.queues.values():
            app.registry.add_queue(queue)
    for declaration in declared.registry.declarations.values():
        app.registry.add(declaration)
    return app


class Stage:
    """An app that enqueues, and supervisors whose workers run the same jobs. The jobs write into the ledger.

    target: the app of the workers, as `declared` is named on the command line. environ: of the workers, who also get
    the path of the ledger.
    """

    def __init__(
        self,
        declared: Outlast,
        target: str,
        folder: Path,
        settings: Settings,
        environ: Mapping[str, str],
        *,
        whole: bool = False,
    ) -> None:
        self.ledger = Ledger(folder / "ledger")
        self.ledger.path.touch()
        self.log = folder / "log"
        self.app = declaring_alike(declared, settings, whole=whole)
        self.environ = {**environ, "OUTLAST_TEST_LEDGER": str(self.ledger.path)}
        self._target = target

    def start(self, **options: Any) -> AbstractContextManager[Supervised]:
        """Start a supervisor."""
        return supervised(self._target, self.environ, self.log, **options)

    def workers(self, running: Supervised) -> list[int]:
        """Return the pids of its worker processes; raise RuntimeError when the supervisor has ended."""
        if running.process.poll() is not None:
            raise RuntimeError(f"the supervisor ended: {self.told()[-2000:]}")
        return running.workers()

    def told(self) -> str:
        """What the processes logged."""
        return self.log.read_text() if self.log.exists() else ""
