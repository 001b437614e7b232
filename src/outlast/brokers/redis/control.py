"""Commands in one keyspace: those on single jobs in one step, those on many jobs in many short steps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final, cast

import msgspec
from msgspec import Raw, Struct

from outlast.brokers.redis.codec import LETTERS, PRIORITY_NUMBER, pack, unpack
from outlast.brokers.redis.keyspace import KeyspaceOperations, changes_of, limits_of, script
from outlast.brokers.redis.records import effects_of, failures_of, pages
from outlast.clients.redis.client import Argument
from outlast.core.codec import changed_args
from outlast.core.exchanges.copies import refused_size
from outlast.core.moving import Adopt, Hold, Moved, Parcel, Unhold
from outlast.core.store.control import Adjust, Answer, Cancel, Command, Edit, Pause, Prune, Purge, Redrive, RunNow, Why
from outlast.core.topology import adjusted
from outlast.core.unreadable import READ_ERRORS

__all__ = ["ControlOperations"]

_CONTROL: Final = script("clock", "base", "retain", "jobs", "moves", "succeed", "admit", "relimit", "control")
_encode: Final = msgspec.msgpack.Encoder().encode
_json: Final = msgspec.json.Encoder().encode
STEP: Final = 200
"""Jobs that one step removes."""
TRIES: Final = 20


class _CommandRows(Struct):
    """Commands as rows of the script. args: begin at ARGV[5]."""

    queues: list[str]
    rows: list[list[Any]]
    args: list[Argument]

    def number(self, queue: str) -> int:
        """Return the number of a queue among the KEYS."""
        if queue not in self.queues:
            self.queues.append(queue)
        return self.queues.index(queue) + 1


class ControlOperations(KeyspaceOperations):
    """Applies commands in one keyspace."""

    async def apply(self, commands: Sequence[Command]) -> list[Answer]:
        """Apply the commands in order; raise ConfigurationError, with nothing changed, for an invalid limit."""
        for command in commands:
            if isinstance(command, Adjust):
                await self.check_adjust(command)
        answers: list[Answer] = []
        for needs_many_steps, group in groupby(commands, _needs_many_steps):
            if needs_many_steps:
                answers += [await self._apply_in_steps(command) for command in group]
            else:
                answers += await self._apply_at_once(list(group))
        return answers

    async def check_adjust(self, adjust: Adjust) -> None:
        """Raise ConfigurationError for an invalid limit."""
        adjusted(await self.keyspace.declared_of(adjust.queue), adjust.changes)

    async def _apply_at_once(self, commands: Sequence[Command]) -> list[Answer]:
        """Apply commands on single jobs and queues in one step."""
        for _ in range(TRIES):
            refused: dict[int, Answer] = {}
            rows = await self._rows(commands, refused)
            answers = [] if not rows.rows else await self._send(rows)
            if answers is not None:
                for index in sorted(refused):
                    answers.insert(index, refused[index])
                for command in commands:
                    if isinstance(command, Adjust):
                        await self.keyspace.relook(command.queue)
                return answers
        raise RuntimeError(f"the job or the limits changed during each of {TRIES} attempts: try again")

    async def _send(self, rows: _CommandRows) -> list[Answer] | None:
        """Send the rows; return None, with nothing changed, if an edited job or limit changed after it was read."""
        keyspace = self.keyspace
        reply = await keyspace.run(
            _CONTROL, keyspace.keys(rows.queues), keyspace.default_limits, _encode(rows.rows), *rows.args
        )
        if reply == [b"changed"]:
            return None
        return [
            _answer(rows.queues[row[1] - 1], row[2] if len(row) > 2 else "", answer)
            for row, answer in zip(rows.rows, reply, strict=True)
        ]

    async def _rows(self, commands: Sequence[Command], refused: dict[int, Answer]) -> _CommandRows:
        rows = _CommandRows([], [], [])
        edited: dict[str, Raw] = {}
        for index, command in enumerate(commands):
            match command:
                case Pause():
                    rows.rows.append(["pause", rows.number(command.queue), int(command.on)])
                case Adjust():
                    rows.rows.append(await self._adjust(rows, command))
                case Adopt():
                    if refused_size(command.parcel.message, self._max_body) is not None:
                        refused[index] = Answer(False, why="too-large")
                    else:
                        rows.rows.append(_adopt(rows, command))
                case Edit():
                    try:
                        rows.rows.append(await self._edit(rows, command, edited))
                    except READ_ERRORS:
                        refused[index] = Answer(False, why="unreadable")
                case Cancel() | Redrive() | RunNow() | Purge() | Hold() | Moved() | Unhold():
                    queue, _, sid = (command.id or "").partition(".")
                    row: list[Any] = [_NAMES[type(command)], rows.number(queue), sid]
                    if isinstance(command, Hold):
                        row.append(command.why)
                    elif isinstance(command, Purge):
                        row.append("".join(LETTERS[state] for state in command.states))
                    rows.rows.append(row)
                case _:
                    raise TypeError(f"{type(command).__name__} is no command on one job or queue")
        return rows

    async def _adjust(self, rows: _CommandRows, adjust: Adjust) -> list[Any]:
        declared = await self.keyspace.declared_of(adjust.queue)
        (stored,) = await self.keyspace.changes([adjust.queue])
        before = changes_of(adjust.queue, stored)
        changes = {name: value for name, value in before.items() if name not in adjust.reset} | adjust.changes
        rows.args += [limits_of(adjusted(declared, changes)), _json(changes)]
        at = 4 + len(rows.args)
        return ["adjust", rows.number(adjust.queue), at - 1, at, stored.decode()]

    async def _edit(self, rows: _CommandRows, edit: Edit, edited: dict[str, Raw]) -> list[Any]:
        """Return the row of an edit. edited: the arguments after the earlier edits of this call, by id."""
        queue, _, sid = edit.id.partition(".")
        args: Raw | None = edit.args
        expected: str | bool = False
        if edit.change is not None:
            if args is None:
                args = edited.get(edit.id)
            if args is None:
                record = await self.keyspace.command("HGET", f"{self.keyspace.prefix(queue)}:b", sid)
                if record is not None:
                    args = unpack(queue, edit.id, record).args
                    expected = bytes(args).decode()
            if args is not None:
                args = changed_args(args, edit.change)
        if args is not None:
            edited[edit.id] = args
        priority = -1 if edit.priority is None else PRIORITY_NUMBER[edit.priority]
        body: str | bool = False if args is None else bytes(args).decode()
        run_at: float | bool = False if edit.run_at is None else edit.run_at
        return ["edit", rows.number(queue), sid, body, priority, run_at, expected]

    async def _apply_in_steps(self, command: Command) -> Answer:
        """Apply a command on many jobs in short steps; jobs that are accepted during it stay."""
        keyspace = self.keyspace
        changed = 0
        if isinstance(command, Prune):
            for queue in await keyspace.names():
                step = STEP
                while step >= STEP:  # a step counts the records of all sorts, so it may exceed STEP
                    step = await self._send_one(queue, ["prune", 1, STEP])
                    changed += step
            return Answer(True, changed)
        assert isinstance(command, Purge)
        if command.queue is None and command.key is None:
            return Answer(False, why="nothing-named")
        queues = [command.queue] if command.queue is not None else await keyspace.names()
        states = "".join(LETTERS[state] for state in command.states)
        upto = int(await keyspace.command("GET", f"{keyspace.root}:order") or 0)
        for queue in queues:
            for page in await pages(keyspace, [queue]):
                sids = [
                    each.decode()
                    for each in await keyspace.command("LRANGE", f"{keyspace.prefix(queue)}:a:{page}", 0, -1)
                ]
                for start in range(0, len(sids), STEP):
                    runs = int(command.key is not None)
                    row = ["some", 1, sids[start : start + STEP], states, command.key or False, runs, upto]
                    changed += await self._send_one(queue, row)
            if command.key is not None:
                await self._send_one(queue, ["forget", 1, command.key])
        return Answer(True, changed)

    async def _send_one(self, queue: str, row: list[Any]) -> int:
        """Send one row on a queue; return the number of changed jobs."""
        (answer,) = await self._send(_CommandRows([queue], [row], [])) or []
        return answer.changed


_NAMES: Final[dict[type, str]] = {
    Cancel: "cancel",
    Redrive: "redrive",
    RunNow: "now",
    Purge: "purge",
    Hold: "hold",
    Moved: "moved",
    Unhold: "unhold",
}


def _needs_many_steps(command: Command) -> bool:
    return isinstance(command, Prune) or (isinstance(command, Purge) and command.id is None)


def _adopt(rows: _CommandRows, adopt: Adopt) -> list[Any]:
    parcel = adopt.parcel
    message = parcel.message
    rows.args.append(pack(message))
    failures = [_json(each).decode() for each in parcel.failures]
    row: list[Any] = ["adopt", rows.number(message.queue), message.id[len(message.queue) + 1 :], 4 + len(rows.args)]
    effects = "" if parcel.effects is None else bytes(parcel.effects).decode()
    kept = (parcel.at, parcel.rank, parcel.attempt, parcel.crashes, failures, adopt.why, int(parcel.begun), effects)
    return [*row, *kept]


def _answer(queue: str, sid: object, answer: list[Any]) -> Answer:
    ok, changed, why, parcel = answer
    held = None
    if parcel is not None:
        record, at, rank, attempt, crashes, begun, failures, holds_unique_key, effects = parcel
        try:
            message = unpack(queue, f"{queue}.{sid}", record)
            kept = effects_of(effects)
        except READ_ERRORS:
            return Answer(False, why="unreadable")  # it stays held; outlast jobs put-back releases it
        if not holds_unique_key:
            message = msgspec.structs.replace(message, unique=None)
        held = Parcel(
            message=message,
            at=float(at),
            rank=int(rank),
            attempt=attempt,
            crashes=crashes,
            begun=bool(begun),
            failures=failures_of(failures),
            effects=kept,
        )
    return Answer(bool(ok), changed, cast("Why", why.decode()), held)
