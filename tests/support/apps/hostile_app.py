"""An app whose jobs raise what no other code should have to bear, in every place where a worker meets user code."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from random import Random
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, model_serializer

from outlast import CallNext, Context, Depends, GiveUp, JobRouter, Outlast, Redacted, Retry, Snooze, injected
from outlast.settings import Settings

__all__ = ["ERRORS", "PLACES", "app", "at_run", "build", "jobs"]

ENDS = (GeneratorExit, KeyboardInterrupt, SystemExit, asyncio.CancelledError, StopIteration, MemoryError)
at_run: list[bool] = []
"""Not empty: validators raise. A job must be accepted before."""


def raising(end: type[BaseException]) -> Callable[..., Any]:
    """Return a method that raises, whatever it is called with."""

    def method(*_: Any, **__: Any) -> Any:
        raise end

    return method


def having(name: str, value: Any, base: type[BaseException] = Exception) -> Any:
    """Return an exception of a new class with this attribute."""
    return type("Hostile", (base,), {name: value})("x")


def ending(name: str, end: type[BaseException]) -> Callable[[], Any]:
    """Return what makes an exception with a method that raises."""
    return lambda: having(name, raising(end))


def refusing(name: str, end: type[BaseException]) -> Callable[[], Any]:
    """Return what makes an exception with a property that raises."""
    return lambda: having(name, property(raising(end)))


class LyingText(str):
    """Text whose methods raise."""

    __slots__ = ()
    __str__ = __repr__ = __eq__ = __hash__ = __len__ = encode = replace = lower = raising(GeneratorExit)


class LyingClass(type):
    """A class that has no name and no subclasses."""

    __name__ = property(raising(KeyboardInterrupt))
    __module__ = property(raising(KeyboardInterrupt))
    __subclasscheck__ = raising(SystemExit)
    __instancecheck__ = raising(SystemExit)


class Unnamed(Exception, metaclass=LyingClass):
    """An error of such a class."""


def cycle() -> BaseException:
    """Return an error that is the cause of its cause."""
    error = ValueError("x")
    error.__cause__ = RuntimeError("y")
    error.__cause__.__cause__ = error
    return error


def chain(length: int) -> BaseException:
    """Return an error with so many causes."""
    error = ValueError("last")
    for number in range(length):
        cause, error = error, ValueError(number)
        error.__cause__ = cause
    return error


def shared_group() -> BaseException:
    """Return a group in which one error stands 2**60 times."""
    group: ExceptionGroup[Exception] = ExceptionGroup("g", [ValueError("x")])
    for _ in range(60):
        group = ExceptionGroup("g", [group, group])
    return group


def deep_group() -> BaseException:
    """Return a group in a group, deeper than any recursion goes."""
    group: BaseException = ValueError("x")
    for _ in range(5000):
        group = BaseExceptionGroup("g", [group])
    return group


def sleepless() -> Snooze:
    """Return a snooze without a time."""
    error = Snooze(1)
    error.seconds = float("nan")
    return error


class LyingSnooze(Snooze):
    """A snooze that does not tell its time."""

    def __getattribute__(self, name: str) -> Any:
        if name == "seconds":
            raise SystemExit
        return super().__getattribute__(name)

    def __init__(self, seconds: float) -> None: ...


ERRORS: dict[str, Callable[[], BaseException]] = {
    **{end.__name__: end for end in ENDS},
    **{f"text {end.__name__}": ending("__str__", end) for end in ENDS},
    **{f"class {end.__name__}": refusing("__class__", end) for end in ENDS},
    **{
        f"property {name}": refusing(name, KeyboardInterrupt)
        for name in (
            "__cause__",
            "__context__",
            "__traceback__",
            "__notes__",
            "__suppress_context__",
            "args",
            "__dict__",
        )
    },
    **{
        f"method {name}": ending(name, SystemExit)
        for name in ("__repr__", "__eq__", "__hash__", "__getattribute__", "__reduce__", "with_traceback")
    },
    "text of another class": lambda: having("__str__", lambda _: LyingText("x")),
    "text that is none": lambda: having("__str__", lambda _: 7),
    "lying text": lambda: ValueError(LyingText("x")),
    "notes": lambda: having("__notes__", [LyingText("x"), 7]),
    "half a character": lambda: ValueError("\ud800\0\x1b"),
    "long text": lambda: ValueError("x" * 5_000_000),
    "class without a name": Unnamed,
    "class with a long name": lambda: type("\x1b\n" + "X" * 5000, (Exception,), {})(),
    "class with a lying name": lambda: type(LyingText("x"), (Exception,), {})(),
    "syntax error": lambda: having("text", property(raising(KeyboardInterrupt)), SyntaxError),
    "cycle": cycle,
    "chain": lambda: chain(50_000),
    "shared group": shared_group,
    "deep group": deep_group,
    "group of ends": lambda: BaseExceptionGroup("g", [KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()]),
    "group of hostiles": lambda: BaseExceptionGroup("g", [having("__str__", raising(SystemExit)), Unnamed()]),
    "lying group": lambda: type("G", (ExceptionGroup,), {"exceptions": property(raising(SystemExit))})(
        "g", [Unnamed()]
    ),
    "snooze without a time": sleepless,
    "lying snooze": lambda: LyingSnooze(1),
    "lying give-up": lambda: having("__str__", raising(GeneratorExit), GiveUp),
}


class Refuses:
    """A rule of retries that raises."""

    def delay(self, attempt: int, rng: Random) -> float:
        raise KeyboardInterrupt


def check(word: str) -> str:
    if at_run:
        raise ERRORS[word]()
    return word


class Looped(BaseModel):
    """A value that contains itself, and cannot be shown."""

    model_config = ConfigDict(extra="allow")
    word: str

    def __repr__(self) -> str:
        raise SystemExit


def looped(value: Looped) -> Looped:
    if at_run:
        value.word = value  # type: ignore[assignment]
    return value


class Unwritten(BaseModel):
    """A result that cannot be stored."""

    word: str

    @model_serializer
    def write(self) -> str:
        raise ERRORS[self.word]()


def before(ctx: Context) -> None:
    raise ERRORS[ctx.arguments["word"]]()


async def around_async(ctx: Context) -> AsyncIterator[None]:
    try:
        yield
    finally:
        raise ERRORS[ctx.arguments["word"]]()


def around(ctx: Context) -> Iterator[None]:
    try:
        yield
    finally:
        raise ERRORS[ctx.arguments["word"]]()


async def fails_before(ctx: Context, call_next: CallNext) -> Any:
    raise ERRORS[ctx.arguments["word"]]()


async def fails_after(ctx: Context, call_next: CallNext) -> Any:
    await call_next()
    raise ERRORS[ctx.arguments["word"]]()


async def passes(ctx: Context, call_next: CallNext) -> Any:
    return await call_next()


async def raises(word: str) -> None:
    raise ERRORS[word]()


async def raises_later(word: str) -> None:
    await asyncio.sleep(0)
    raise ERRORS[word]()


async def raises_in_a_group(word: str) -> None:
    raise BaseExceptionGroup("g", [ValueError("x"), ERRORS[word]()])


async def raises_from(word: str) -> None:
    try:
        raise ERRORS[word]()
    except BaseException as error:
        raise ValueError("x") from error


async def knows_a_secret(word: Annotated[str, Redacted]) -> None:
    raise ERRORS[word]()


async def knows_a_loop(value: Annotated[Looped, AfterValidator(looped), Redacted]) -> None:
    raise ERRORS["lying text"]()


async def validates(word: Annotated[str, AfterValidator(check)]) -> None: ...


async def returns(word: str) -> Unwritten:
    return Unwritten(word=word)


async def returns_a_lie(word: str) -> Any:
    return type("Lie", (), {"__class__": property(raising(SystemExit))})()


def raises_plainly(word: str) -> None:
    raise ERRORS[word]()


def returns_plainly(word: str) -> Unwritten:
    return Unwritten(word=word)


def returns_a_lie_plainly(word: str) -> Any:
    return type("Lie", (), {"__class__": property(raising(SystemExit))})()


async def supplied(word: str, *, made: Annotated[None, Depends(before)] = injected) -> None: ...


async def supplied_around(word: str, *, made: Annotated[None, Depends(around_async)] = injected) -> None: ...


def supplied_around_plainly(word: str, *, made: Annotated[None, Depends(around)] = injected) -> None: ...


PLACES: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "handler": (raises, {}),
    "handler, after a wait": (raises_later, {}),
    "group": (raises_in_a_group, {}),
    "cause": (raises_from, {}),
    "backoff": (raises, {"retry": Retry(attempts=2, backoff=Refuses())}),
    "rule": (raises, {"retry": Retry(attempts=1, retry_on=(Unnamed, Exception), give_up_on=(Unnamed,))}),
    "validator": (validates, {}),
    "result": (returns, {}),
    "result that lies": (returns_a_lie, {}),
    "middleware, before": (raises, {"middleware": [fails_before]}),
    "middleware, after": (validates, {"middleware": [passes, fails_after]}),
    "dependency": (supplied, {}),
    "end of a dependency": (supplied_around, {}),
    "thread": (raises_plainly, {}),
    "thread, result": (returns_plainly, {}),
    "thread, result that lies": (returns_a_lie_plainly, {}),
    "thread, middleware around": (raises_plainly, {"middleware": [passes]}),
    "thread, middleware after": (raises_plainly, {"middleware": [fails_after]}),
    "thread, end of a dependency": (supplied_around_plainly, {}),
    "redacted": (knows_a_secret, {}),
    "redacted, in itself": (knows_a_loop, {}),
    "process": (raises_plainly, {"isolate": "process"}),
    "process, on its loop": (raises_later, {"isolate": "process"}),
    "process, result": (returns_plainly, {"isolate": "process"}),
    "process, result that lies": (returns_a_lie_plainly, {"isolate": "process"}),
}
jobs: dict[str, Any] = {}


def build(url: str = "") -> Outlast:
    """Return a fresh app with a job for each place."""
    made = Outlast("hostile", settings=Settings(url=url, processes=2, drain_grace=10))
    jobs.clear()
    for place, (handler, options) in PLACES.items():
        router = JobRouter()
        for each in options.get("middleware", ()):
            router.middleware(each)
        kind = "".join(each if each.isalnum() else "_" for each in place)
        declared = {"retry": Retry(attempts=1), "timeout": 60, **options}
        declared.pop("middleware", None)
        jobs[place] = router.job(kind=kind, **declared)(handler)
        made.include(router)
    return made


if "OUTLAST_TEST_HOSTILE" in os.environ:
    at_run.append(True)

app = build()
