"""Random command lines on a store with random content: each ends with a code of the table, and without a raw error."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import re
import select
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import apsw
import typer

from outlast import Outlast, Settings
from outlast.cli import main
from outlast.cli.root import build
from outlast.core.exitcodes import MEANING
from tests.faults.proofs.damage import vandalize_file
from tests.support.apps.cli_app import SECRET, seed
from tests.support.command import Project

__all__ = ["COMMANDS", "fuzz_command_line"]

HANG: Final = 30.0
"""Seconds after which a command hangs."""
_PER_STORE: Final = 15
_SERVERS: Final = ("dev", "worker", "demo")
_READERS: Final = (
    "exchanges",
    "route",
    "queues list",
    "jobs list",
    "jobs show",
    "dead list",
    "schedules list",
    "schedules show",
    "doctor",
)
_ESCAPES: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_RAW: Final = ("Traceback (most recent call last)", "OUTLAST_DEBUG=1", "object at 0x")
_ODD: Final = (
    "", " ", "-", "--", "'", '"', "\x1b[31m", "a\nb", "\u202eabc", "é", "\udcff", "x" * 5000, "0", "-1", "1e400", "nan",
    "9" * 400, "5m", "0s", "-5s", "1h30m", "99999999d", "2026-01-01T00:00:00Z", "0001-01-01", "9999-12-31T23:59:59Z",
    "null", "{}", "[", "[" * 3000, '{"order": 1}', '{"order": "x", "password": 7}', "true", "high", "low", "*", "a=b",
    "a=", "=b", "order=1", "queue:mail", "state:dead", "state:nonsense", "kind:send", "reason:poison", "arg.order:1",
    "arg.a.b.c:[", "key:a@b.c", "-state:dead", "not:state:dead", "before:1h", "older:", "::", "10/s", "10/", "/s", "5",
    "reject", "shed", "* * * * *", "61 * * * *", "Mars/Olympus", "UTC", "dead", "waiting", "../up", "/dev/null",
    "sqlite:", "sqlite:missing.db", "sqlite:/dev/full", "redis://127.0.0.1:1/0", "redis://:p@[", "memory:", "http://x",
    "main:shop", "main:nothing", "main", ":", "nothing:shop", "main:shop.x", "send", "wait", "mail", "slow", "small",
)  # fmt: skip


def _leaves(command: Any, words: tuple[str, ...] = ()) -> dict[tuple[str, ...], list[Any]]:
    if not hasattr(command, "commands"):
        return {words: list(command.params)}
    return {
        path: params
        for name, each in command.commands.items()
        for path, params in _leaves(each, (*words, name)).items()
    }


COMMANDS: Final = {
    words: params for words, params in _leaves(typer.main.get_command(build())).items() if words[0] not in _SERVERS
}
"""The parameters of each command, except of those that serve until they are stopped."""


class _Lines:
    """Makes command lines. known: ids that exist."""

    def __init__(self, rng: random.Random, known: tuple[str, ...]) -> None:
        self._rng = rng
        self._known = known

    def make(self) -> list[str]:
        """Return the words of one command line: most of them such as the command takes."""
        words, params = self._rng.choice(list(COMMANDS.items()))
        line = list(words)
        for each in params:
            line += self._of(each)
        if words[0] == "call":
            line += ["--timeout", "0.1"]
        for _ in range(self._rng.choice((0, 0, 0, 0, 1, 2))):
            self._spoil(line)
        return [word.replace("\0", "") for word in line if word not in ("--install-completion", "--show-completion")]

    def _of(self, param: Any) -> list[str]:
        rng, option = self._rng, param.opts[-1]
        if option in ("--rate", "--wait", "-w", "--timeout"):  # they wait, as they should
            return []
        if param.param_type_name == "argument":
            return [self._value() for _ in range(rng.choice((0, 1, 1, 1, 2)))]
        if rng.random() > {"-y": 0.8, "--yes": 0.8, "--json": 0.4, "--url": 0.1}.get(option, 0.25):
            return []
        name = rng.choice(param.opts)
        if param.is_flag:
            return [name]
        return [f"{name}={self._value()}"] if rng.random() < 0.2 and name[:2] == "--" else [name, self._value()]

    def _value(self) -> str:
        rng = self._rng
        value = rng.choice(self._known) if rng.random() < 0.35 else rng.choice(_ODD)
        if rng.random() < 0.1 and value:
            at = rng.randrange(len(value))
            value = value[:at] + chr(rng.choice((rng.randrange(1, 128), rng.randrange(0x80, 0xD7FF)))) + value[at + 1 :]
        return value

    def _spoil(self, line: list[str]) -> None:
        at = self._rng.randrange(len(line) + 1)
        match self._rng.randrange(4):
            case 0:
                line.insert(at, self._rng.choice(_ODD))
            case 1 if at < len(line):
                del line[at]
            case 2:
                line.insert(
                    at, self._rng.choice(("--help", "--url", "--json", "--debug-", "--version", "-x", "--no-such"))
                )
            case _:
                self._rng.shuffle(line)


def _run(line: list[str], folder: Path, environ: dict[str, str]) -> tuple[int, str, str]:
    """Run a command in a fork of this process; return its exit code (-1: it hangs), and what it prints."""
    out, err = folder / "stdout", folder / "stderr"
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.chdir(folder)
            for number, name, flags in ((0, os.devnull, os.O_RDONLY), (1, out, 0), (2, err, 0)):
                file = os.open(name, flags or (os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 0o600)
                os.dup2(file, number)
            sys.stdin, sys.stdout, sys.stderr = (
                os.fdopen(number, mode, encoding="utf-8", errors=errors)
                for number, mode, errors in (
                    (0, "r", "strict"),
                    (1, "w", "surrogateescape"),
                    (2, "w", "backslashreplace"),
                )
            )
            os.environ.update(environ)
            sys.path.insert(0, str(folder))
            signal.signal(signal.SIGINT, signal.default_int_handler)
            code = main(line)
        except BaseException:
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(code)
    watched = os.pidfd_open(child)
    hangs = not select.select([watched], [], [], HANG)[0]
    os.close(watched)
    if hangs:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if hangs:
        return -1, "", ""
    return os.waitstatus_to_exitcode(status), out.read_text(errors="replace"), err.read_text(errors="replace")


def _faults(line: list[str], code: int, out: str, err: str) -> list[str]:
    """Return what is wrong with the end of a command."""
    if code == -1:
        return ["it hangs"]
    faults = []
    if code not in MEANING:
        faults.append(f"exit code {code}")
    faults += [f"prints {text!r}" for text in _RAW if text in err and not any(text.strip() in word for word in line)]
    if _ESCAPES.search(out) or _ESCAPES.search(err):
        faults.append("prints a control character")
    if SECRET in out + err and not any(SECRET in word for word in line):
        faults.append("shows a secret")
    if code == 0 and "--json" in line and not {"--help", "-h", "--version"} & {*line} and out.strip():
        try:
            json.loads(out)
        except ValueError:
            faults.append("prints no JSON")
    return faults


def _bind(url: str) -> tuple[str, ...]:
    """Bind queues to exchanges that the app of the project does not declare; return names, keys and headers of them."""
    shop = Outlast("shop", settings=Settings(url=url))
    orders, kept = shop.exchange("orders"), shop.exchange("kept", type="direct", unroutable="keep")
    byhead, everyone = shop.exchange("by.headers", type="headers"), shop.exchange("all", type="fanout")
    bindings = [
        orders.binding("order.*.paid"), orders.binding("#"), orders.binding("\x1b[31m.\u202e"), kept.binding("x" * 255),
        byhead.binding(headers={"region": "eu", "n": 1, "\x1b[31m": None}, match="any"), everyone.binding(),
    ]  # fmt: skip
    for number, binding in enumerate(bindings):

        @shop.job(queue=f"bound{number}", kind=f"bound{number}", on=binding)
        async def take(event: object) -> None: ...

    async def bind() -> None:
        async with shop:
            await orders.publish("order.eu.paid", {"password": SECRET}, id="e1")

    asyncio.run(bind())
    return (
        *("orders", "kept", "by.headers", "all", "shop", "bound0", "order.eu.paid", "order.*.paid", "region=eu", "n=1"),
        *(
            "region",
            "kept-unroutable",
            "order..paid",
            "x" * 255,
            "x" * 256,
            "é" * 128,
            "x-match=any",
            "CC=a",
            "amq.topic",
        ),
    )


def _count(file: Path) -> int:
    with closing(apsw.Connection(str(file))) as db:
        return int(db.execute("select count(*) from job").get)


async def fuzz_command_line(folder: Path, *, seconds: float, seed_: int) -> tuple[int, Counter[str]]:
    """Run command lines for so many seconds; return their number, and the faults. The log is quiet meanwhile."""
    logging.disable(logging.CRITICAL)
    try:
        return await _fuzz(folder, seconds=seconds, seed_=seed_)
    finally:
        logging.disable(logging.NOTSET)  # tests after it in this process need their log


async def _fuzz(folder: Path, *, seconds: float, seed_: int) -> tuple[int, Counter[str]]:
    folder.mkdir(parents=True, exist_ok=True)
    Project(folder)  # writes its files
    template, store = folder / "template.db", folder / "jobs.db"
    rng, number, faults = random.Random(seed_), 0, Counter[str]()
    seeded = await asyncio.to_thread(seed, f"sqlite:{template}")
    bound = await asyncio.to_thread(_bind, f"sqlite:{template}")
    known = (
        *vars(seeded).values(),
        *bound,
        "mail",
        "slow",
        "small",
        "a@b.c",
        "ann",
        "main:shop",
        "send",
        "fail",
        "wait",
        "q.no",
    )
    lines = _Lines(rng, known)
    environ = {"OUTLAST_URL": f"sqlite:{store}", "HOME": str(folder), "COLUMNS": "80"}
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for suffix in ("", "-wal", "-shm"):
            (folder / f"jobs.db{suffix}").unlink(missing_ok=True)
        shutil.copy(template, store)
        damaged = "the content is sound"
        if rng.random() < 0.6:
            done = await vandalize_file(folder, rng)
            damaged = done.what if done is not None else damaged
        for _ in range(_PER_STORE):
            line = lines.make()
            reads = not {line[0] if line else "", " ".join(line[:2])}.isdisjoint(_READERS)
            before = _count(store) if reads and store.exists() else -1
            code, out, err = _run(line, folder, environ)
            number += 1
            found = _faults(line, code, out, err)
            if reads and store.exists() and _count(store) < before:
                found.append("a command that reads has lost jobs")
            for each in found:
                told = f"{each}: {line!r:.300} ({damaged}; code {code}): {err.strip()[-300:]!r}"
                faults[told] += 1
            if time.monotonic() > until or not store.exists():
                break
    return number, faults
