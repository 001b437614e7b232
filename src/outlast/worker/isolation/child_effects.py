"""The effects of a run (`ctx.once`) on both ends of the socket: a child process asks, its worker calls the store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from msgspec import Raw

from outlast.core.errors import BodyTooLarge, StoreError
from outlast.worker.isolation.messages import ChildEffects, EffectsAnswer
from outlast.worker.run import Run

__all__ = ["ChildEffectsPort", "answer_effects"]

_NONE = Raw(b"null")


class ChildEffectsPort:
    """The effects of the present run of a child process (`EffectsPort`). send: sends a question to the worker.

    limit: bytes of a note, `max_body`.
    """

    def __init__(self, send: Callable[[ChildEffects], None]) -> None:
        self.limit = 0
        self._send = send
        self._lock = threading.Lock()
        self._asked = 0
        self._waiting: dict[int, Future[Any]] = {}

    def read(self) -> Future[Raw | None]:
        """Ask for the note of the runs before."""
        return self._ask(_NONE)

    def keep(self, note: Raw) -> Future[None]:
        """Have the note saved. Raise BodyTooLarge."""
        if len(bytes(note)) > self.limit:
            raise BodyTooLarge("once", len(bytes(note)), self.limit)
        return self._ask(note)

    def _ask(self, note: Raw) -> Future[Any]:
        with self._lock:
            self._asked += 1
            number, future = self._asked, Future[Any]()
            self._waiting[number] = future
        self._send(ChildEffects(number, note))
        return future

    def answered(self, answer: EffectsAnswer) -> None:
        """Take an answer of the worker, in the thread that reads the socket."""
        with self._lock:
            future = self._waiting.pop(answer.number, None)
        if future is None or not future.set_running_or_notify_cancel():
            return
        if answer.error:
            future.set_exception(StoreError(answer.error))
        else:
            future.set_result(None if bytes(answer.note) == b"null" else Raw(bytes(answer.note)))


def answer_effects(run: Run, asked: ChildEffects, send: Callable[[EffectsAnswer], None]) -> None:
    """Read or save the note of an isolated run, and send the answer; on the loop of the worker."""

    def answered(done: Future[Any]) -> None:
        if done.cancelled():
            return
        error, note = done.exception(), None
        if error is None:
            note = done.result()
        send(EffectsAnswer(asked.number, _NONE if note is None else note, "" if error is None else str(error)))

    port = run.host.effects_of(run)
    saves = bytes(asked.note) != b"null"
    future: Future[Any] = port.keep(Raw(bytes(asked.note))) if saves else port.read()
    future.add_done_callback(answered)
