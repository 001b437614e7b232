"""Dependencies after `*`: what is refused where it is declared, and what a run is given."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any, TypeAlias

import fastapi
import pytest

from outlast import ConfigurationError, Context, Depends, GiveUp, InvalidArguments, JobRouter, Outlast, Retry, injected
from outlast.settings import Settings

log: list[str] = []


@pytest.fixture(autouse=True)
def _clean() -> None:
    log.clear()


@pytest.fixture
def shop() -> Outlast:
    return Outlast("shop", settings=Settings(url="memory:"))


class Session:
    """Made by a class of its own, and by nobody else."""

    def __init__(self) -> None:
        log.append("session")

    def __repr__(self) -> str:
        return "Session"


def opened() -> Iterator[str]:
    log.append("open")
    try:
        yield "db"
    except ValueError:
        log.append("rolled back")
        raise
    except asyncio.CancelledError:
        log.append("cancelled")
        raise
    finally:
        log.append("closed")


async def opened_async(ctx: Context) -> AsyncIterator[str]:
    log.append(f"open for {ctx.kind}")
    try:
        yield "async db"
    finally:
        await asyncio.sleep(0)
        log.append("closed")


async def number() -> int:
    log.append("number")
    return 7


def on_db(db: Annotated[str, Depends(opened)]) -> str:
    return f"on {db}"


def by_default(db: str = fastapi.Depends(opened), /) -> str:
    return db


Db: TypeAlias = Annotated[str, Depends(opened)]
WebDb: TypeAlias = Annotated[str, fastapi.Depends(opened)]


async def asks(order: int, *, db: Db = injected) -> str:
    log.append("runs")
    if order < 0:
        raise ValueError("no such order")
    return f"{order} {db}"


async def asks_all(
    ctx: Context,
    order: int,
    *,
    db: WebDb = injected,
    on: Annotated[str, Depends(on_db)] = injected,
    session: Annotated[Session, Depends()] = injected,
    seven: Annotated[int, Depends(number)] = injected,
    stream: Annotated[str, Depends(opened_async)] = injected,
) -> list[Any]:
    return [ctx.kind, order, db, on, repr(session), seven, stream]


def in_thread(
    *, db: Db = injected, where: Annotated[str, Depends(lambda: threading.current_thread().name)] = injected
) -> bool:
    log.append(threading.current_thread().name)
    return where == threading.current_thread().name


class TestRefused:
    def handlers() -> list[tuple[Callable[..., Any], str]]:  # type: ignore[misc]
        async def unmarked(*, db: str) -> None: ...
        async def no_default(*, db: Db) -> None: ...
        async def other_default(*, db: Db = "x") -> None: ...
        async def as_default(*, db: str = fastapi.Depends(opened)) -> None: ...
        async def before(db: Db = injected) -> None: ...
        async def before_no_default(order: int, db: Db) -> None: ...
        async def before_inline(order: int, db: Annotated[str, Depends(opened)]) -> None: ...
        async def before_default(order: int, db: str = fastapi.Depends(opened)) -> None: ...
        async def not_callable(*, db: Annotated[str, Depends(7)] = injected) -> None: ...
        async def hidden(*, db: Annotated[Missing, Depends(opened)] = injected) -> None: ...  # type: ignore[name-defined]  # noqa: F821
        async def nothing(*, db: Annotated[Any, Depends()] = injected) -> None: ...
        async def circle(*, a: Annotated[str, Depends(first)] = injected) -> None: ...
        def plain(*, seven: Annotated[int, Depends(number)] = injected) -> None: ...
        def plain_below(*, seven: Annotated[int, Depends(below)] = injected) -> None: ...
        async def unfilled(*, db: Annotated[str, Depends(takes)] = injected) -> None: ...
        async def of_the_web(*, db: Annotated[str, Depends(header)] = injected) -> None: ...
        async def of_a_request(*, db: Annotated[str, Depends(tasks)] = injected) -> None: ...
        async def positional(*, db: Annotated[str, Depends(by_default)] = injected) -> None: ...
        async def untold(*, db: Annotated[dict[str, str], Depends(type)] = injected) -> None: ...
        async def deep(*, db: Annotated[str, Depends(hides)] = injected) -> None: ...

        return [
            (unmarked, r"parameter 'db' is keyword-only, as only dependencies are: mark it as in 'db: Annotated\["),
            (no_default, "the dependency 'db' needs the default 'injected'"),
            (other_default, "the dependency 'db' needs the default 'injected'"),
            (as_default, r"write the dependency 'db' as 'db: Annotated\[Session, Depends\(get_db\)\] = injected'"),
            (before, r"the dependency 'db' must come after '\*'"),
            (before_no_default, r"the dependency 'db' must come after '\*'"),
            (before_inline, r"the dependency 'db' must come after '\*'"),
            (before_default, r"the dependency 'db' must come after '\*'"),
            (not_callable, r"Depends\(7\) of 'db': give a function"),
            (hidden, r"the type of 'db' is not found \(name 'Missing' is not defined\)"),
            (nothing, "of 'db': give a function, a class"),
            (circle, "dependencies form a cycle: first -> second -> first"),
            (plain, "it is a plain function, .* its dependency 'number' is async"),
            (plain_below, "it is a plain function, .* its dependency 'below' is async or has an async dependency"),
            (unfilled, "dependency 'takes': its parameter 'order' has no value.*a job has no request"),
            (of_the_web, "dependency 'header': its parameter 'token' has no value"),
            (of_a_request, "dependency 'tasks': its parameter 'later' has no value"),
            (positional, "dependency 'by_default': its parameter 'db' is positional-only"),
            (untold, "the dependency 'type' has no readable signature"),
            (deep, "dependency 'hides': the type of 'db' is not found"),
        ]

    @pytest.mark.parametrize(("handler", "said"), handlers())
    def test_where_it_is_declared(self, shop: Outlast, handler: Callable[..., Any], said: str) -> None:
        with pytest.raises(ConfigurationError, match=said):
            shop.job(handler)

    async def test_passing_one(self, shop: Outlast) -> None:
        job = shop.job(asks)
        with pytest.raises(InvalidArguments, match="asks: db: is injected when the job runs, so it cannot be passed"):
            await job.enqueue(1, db="mine")
        with pytest.raises(InvalidArguments, match="asks: 2 positional arguments, and it takes 1"):
            job.message(1, "mine")  # type: ignore[call-arg]

    def test_an_override_that_cannot_be(self, shop: Outlast) -> None:
        job = shop.job(in_thread)
        shop.dependency_overrides[opened] = number
        with shop.testing() as t:
            job.enqueue_sync()
            with pytest.raises(ConfigurationError, match="its dependency 'number' is async"):
                t.drain_sync()

    def test_a_sentinel_that_was_not_replaced_says_so(self) -> None:
        with pytest.raises(AttributeError, match="'execute' of a dependency that was not injected"):
            injected.execute("select 1")
        assert repr(injected) == "injected"
        assert repr(Depends(opened)) == "Depends(opened)"
        assert repr(Depends()) == "Depends()"


def first(b: Annotated[str, Depends(lambda: "")], a: Annotated[str, Depends(lambda: "")]) -> None: ...
def second(a: Annotated[str, Depends(first)]) -> None: ...


first.__annotations__["a"] = Annotated[str, Depends(second)]


def below(seven: Annotated[int, Depends(number)]) -> int:
    return seven


def takes(order: int) -> str:
    return str(order)


def header(token: str = fastapi.Header()) -> str:
    return token


def tasks(later: fastapi.BackgroundTasks = fastapi.BackgroundTasks()) -> str:  # noqa: B008
    return repr(later)


def hides(db: Annotated[Missing, Depends(opened)]) -> None: ...  # type: ignore[name-defined]  # noqa: F821


class TestAtRun:
    async def run(self, shop: Outlast, job: Any, *args: Any) -> Any:
        async with shop.testing() as t:
            handle = await job.enqueue(*args)
            (record,) = await t.drain()
            assert record.args == ({"order": args[0]} if args else {})
            return record if record.state != "succeeded" else await handle.result()

    async def test_a_job_gets_what_it_asks_for(self, shop: Outlast) -> None:
        assert await self.run(shop, shop.job(asks), 1) == "1 db"
        assert log == ["open", "runs", "closed"]

    async def test_what_is_needed_twice_is_made_once_and_ended_in_the_opposite_order(self, shop: Outlast) -> None:
        job = shop.job(asks_all)
        assert await self.run(shop, job, 1) == ["asks_all", 1, "db", "on db", "Session", 7, "async db"]
        assert log == ["open", "session", "number", "open for asks_all", "closed", "closed"]

    async def test_without_a_cache_each_gets_its_own(self, shop: Outlast) -> None:
        @shop.job
        async def both(
            *,
            one: Annotated[object, Depends(object, use_cache=False)] = injected,
            two: Annotated[object, Depends(object, use_cache=False)] = injected,
        ) -> bool:
            return one is two

        assert await self.run(shop, both) is False

    async def test_a_plain_function_gets_its_own_in_its_thread(self, shop: Outlast) -> None:
        assert await self.run(shop, shop.job(in_thread)) is True
        assert log[0] == "open"
        assert log[1].startswith("outlast-job")
        assert log[2] == "closed"

    async def test_a_direct_call_too_and_it_may_pass_its_own(self, shop: Outlast) -> None:
        assert await shop.job(asks)(2) == "2 db"
        assert await shop.job(kind="b")(asks)(2, db="mine") == "2 mine"
        assert await shop.job(in_thread)() is True
        assert await JobRouter().job(asks)(3) == "3 db"
        assert log.count("open") == log.count("closed") == 3

    async def test_a_failure_is_raised_where_it_yields(self, shop: Outlast) -> None:
        record = await self.run(shop, shop.job(retry=Retry(attempts=1))(asks), -1)
        assert record.failures[0].message == "no such order"
        assert "outlast" not in record.failures[0].traceback.replace("contextlib", "")
        assert log == ["open", "runs", "rolled back", "closed"]

    @pytest.mark.parametrize("on_loop", [True, False])
    async def test_a_dependency_cannot_make_a_success_of_it(self, shop: Outlast, on_loop: bool) -> None:
        def swallows() -> Iterator[None]:
            try:
                yield
            except ValueError:
                log.append("swallowed")

        async def fails(*, a: Any = injected) -> None:
            raise ValueError("told all the same")

        def fails_plainly(*, a: Any = injected) -> None:
            raise ValueError("told all the same")

        handler = fails if on_loop else fails_plainly
        handler.__annotations__["a"] = Annotated[None, Depends(swallows)]
        record = await self.run(shop, shop.job(retry=Retry(attempts=1))(handler))
        assert (record.state, record.failures[0].message) == ("dead", "told all the same")
        assert log == ["swallowed"]

    async def test_what_a_dependency_raises_counts(self, shop: Outlast) -> None:
        def commits() -> Iterator[None]:
            yield
            raise GiveUp("the commit failed")

        async def works(*, a: Any = injected) -> str:
            return "done"

        works.__annotations__["a"] = Annotated[None, Depends(commits)]
        record = await self.run(shop, shop.job(works))
        assert (record.state, record.reason) == ("dead", "gave-up")

    async def test_one_that_fails_to_be_made_ends_those_before_it(self, shop: Outlast) -> None:
        def broken(db: Annotated[str, Depends(opened)]) -> None:
            raise ValueError("no connection")

        async def handler(*, a: Any = injected) -> None: ...

        handler.__annotations__["a"] = Annotated[None, Depends(broken)]
        record = await self.run(shop, shop.job(retry=Retry(attempts=1))(handler))
        assert record.failures[0].message == "no connection"
        assert log == ["open", "rolled back", "closed"]

    async def test_all_kinds_of_callables(self, shop: Outlast) -> None:
        class Adds:
            __hash__ = None  # type: ignore[assignment]

            async def __call__(self, seven: Annotated[int, Depends(number)], more: int = 1, *args: int) -> int:
                return seven + more

        async def handler(*, eight: Any = injected, nine: Any = injected, kept: Any = injected) -> list[int]:
            return [eight, nine, kept]

        def keeps(kept: Missing = 3) -> int:  # type: ignore[name-defined]  # noqa: F821
            return int(kept)

        marks: dict[str, Any] = {"eight": Adds(), "nine": functools.partial(Adds(), more=2), "kept": keeps}
        for name, call in marks.items():
            handler.__annotations__[name] = Annotated[int, Depends(call)]
        assert await self.run(shop, shop.job(handler)) == [8, 9, 3]

    async def test_an_override_holds_until_the_block_ends(self, shop: Outlast) -> None:
        job = shop.job(asks)
        with shop.testing() as t:
            shop.dependency_overrides[opened] = lambda: "fake"
            handle = await job.enqueue(1)
            await t.drain()
            assert await handle.result() == "1 fake"
            assert await job(2) == "2 fake"
        assert shop.dependency_overrides == {}
        assert await job(2) == "2 db"


class TestLightness:
    def test_a_kind_without_any_is_called_as_it_is(self, shop: Outlast) -> None:
        from outlast.worker.call_plan import call_plan

        async def bare() -> None: ...

        declaration = shop.job(bare).declaration
        assert call_plan(declaration, shop.registry, in_child=False) == (bare, False, None)
