"""Puts a fault into the running process, in place of the sound code: of a function, an SQL statement or a Lua script.

For each of the three: the names of what a fault changes ("places"), and a recorder of the places that a test enters.
"""

from __future__ import annotations

import gc
import importlib
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from hashlib import sha1
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

from msgspec.structs import force_setattr
from mutation.faults import PACKAGE, ROOT, Fault

__all__ = ["Change", "Place", "change", "record"]

Place = tuple[str, str]
"""A file and the name of its function; "sql" and the name of a statement; "lua" and the digest of a script."""

Change = tuple[set[Place], Callable[[], str]]
"""What a fault changes, and what puts it there: it returns "", or why it cannot."""


def change(fault: Fault, sound: str) -> Change | str:
    """Return the change of a fault of a file with this sound text, or why there is none."""
    changed = sound[: fault.start] + fault.new + sound[fault.end :]
    if fault.path.suffix == ".sql":
        return _of_sql(fault.path, changed)
    if fault.path.suffix == ".lua":
        return _of_lua(sound, changed)
    return _of_python(ROOT / fault.path, sound, changed, sound.count("\n", 0, fault.start) + 1)


def record(entered: set[Place]) -> None:
    """Collect the places that this process enters from now on; the caller empties the set between tests."""
    package = str(ROOT / PACKAGE)

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(package):
            entered.add((code.co_filename, code.co_qualname.partition(".<locals>")[0]))

    _record_sql(entered)
    _record_lua(entered)
    threading.setprofile(note)
    sys.setprofile(note)


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Yield the functions of a module and of its classes, not those within functions."""
    for each in code.co_consts:
        if isinstance(each, CodeType) and "<" not in each.co_qualname:
            # The body of a class is no function: it has no fast locals.
            if each.co_flags & 2:
                yield each
            else:
                yield from _codes(each)


def _named(code: CodeType) -> tuple[str, str, int]:
    """Return what a function is known by: pytest may have compiled its assertions in another way."""
    return code.co_filename, code.co_qualname, code.co_firstlineno


def _of_python(path: Path, sound: str, changed: str, line: int) -> Change | str:
    try:
        after = list(_codes(compile(changed, str(path), "exec", dont_inherit=True)))
    except SyntaxError as error:
        return f"no Python: {error}"
    code = compile(sound, str(path), "exec", dont_inherit=True)
    before = [each for each in _codes(code) if each.co_firstlineno <= line]
    old = max(before, key=lambda each: each.co_firstlineno, default=None)
    new = next((each for each in after if old is not None and _named(each) == _named(old)), None)
    if old is None or new is None:
        return "? no function"

    def put() -> str:
        gc.unfreeze()  # tests/conftest.py has frozen what is loaded; the collector lists nothing of that
        functions = [
            each for each in gc.get_objects() if isinstance(each, FunctionType) and _named(each.__code__) == _named(old)
        ]
        for function in functions:
            try:
                function.__code__ = new
            except ValueError as error:
                return f"? {error}"
        return "" if functions else "? the function was not found"

    return {(str(path), old.co_qualname)}, put


def _sql_modules() -> tuple[Any, Any]:
    """Return the module that reads SQL files, and that of the store's statements."""
    return tuple(importlib.import_module(f"outlast.{name}.sqlite.statements") for name in ("clients", "brokers"))  # type: ignore[return-value]


def _of_sql(path: Path, changed: str) -> Change | str:
    reader, store = _sql_modules()
    sound, whence = store.statements(), reader.files
    with tempfile.TemporaryDirectory(prefix="outlast-sql-") as folder:
        shutil.copytree((ROOT / path).parent, Path(folder) / "sql")
        (Path(folder) / "sql" / path.name).write_text(changed)
        reader.files = lambda _: Path(folder)
        try:
            store.statements.cache_clear()
            new = dict(store.statements())
        finally:
            reader.files = whence
            store.statements.cache_clear()
            # The dictionary itself may be held by others.
            again = store.statements()
            again.clear()
            again.update(sound)

    def put() -> str:
        store.statements().update(new)
        return ""

    return {("sql", name) for name, text in new.items() if text != sound[name]}, put


def _record_sql(entered: set[Place]) -> None:
    import apsw

    names = {text: name for name, text in _sql_modules()[1].statements().items()}

    def trace(_: object, sql: str, __: object) -> bool:
        if sql in names:
            entered.add(("sql", names[sql]))
        return True

    apsw.connection_hooks.append(lambda db: setattr(db, "exec_trace", trace))


def _scripts() -> list[Any]:
    """Return the scripts that the modules of the Redis store hold."""
    script = importlib.import_module("outlast.clients.redis.scripts").Script
    modules = [each for name, each in sys.modules.items() if name.startswith("outlast.brokers.redis")]
    return [value for module in modules for value in vars(module).values() if isinstance(value, script)]


def _of_lua(sound: str, changed: str) -> Change | str:
    touched = [each for each in _scripts() if sound in each.text]

    def put() -> str:
        for each in touched:
            force_setattr(each, "text", each.text.replace(sound, changed))
            force_setattr(each, "sha", sha1(each.text.encode(), usedforsecurity=False).hexdigest())
        return ""

    return {("lua", each.sha) for each in touched}, put


def _record_lua(entered: set[Place]) -> None:
    client = importlib.import_module("outlast.clients.redis.client").RedisClient
    run = client.run

    def noted(self: Any, script: Any, *args: Any, **options: Any) -> Any:
        entered.add(("lua", script.sha))
        return run(self, script, *args, **options)

    client.run = noted
