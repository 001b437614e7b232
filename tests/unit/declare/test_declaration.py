"""Declaring: what the decorator takes, what it refuses, and that it does no I/O."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import pytest

import outlast
from outlast import (
    ConfigurationError,
    DuplicateKind,
    Exponential,
    Job,
    JobRouter,
    Outlast,
    Redacted,
    Retry,
    Settings,
    Unique,
)
from outlast import Context as Ctx
from outlast.core.bounds import LAST_MOMENT
from outlast.core.codec import decode, encode
from outlast.core.policy import DEFAULTS

if TYPE_CHECKING:
    from outlast import Context


async def with_context(ctx: Context, order_id: int) -> int:
    return order_id


async def by_alias(ctx: Ctx, order_id: int) -> int:
    return order_id


async def by_module(ctx: outlast.Context, order_id: int) -> int:
    return order_id


async def send(order_id: int, email: str = "") -> None: ...
def plain(order_id: int) -> None: ...
def secretly(order_id: int, token: Annotated[str, Redacted]) -> None: ...


@pytest.fixture
def shop() -> Outlast:
    return Outlast("shop", settings=Settings(url="memory:"))


class TestJob:
    def test_bare(self, shop: Outlast) -> None:
        job = shop.job(send)
        assert isinstance(job, Job)
        assert (job.kind, job.queue, job.declaration.mode, job.handler) == ("send", "default", "async", send)
        assert inspect.unwrap(job) is send
        assert shop.registry.declarations["send"] is job.declaration

    def test_options(self, shop: Outlast) -> None:
        retry = Retry(attempts=2, backoff=Exponential(base=1))
        job = shop.job(
            kind="mail.send", queue="mail", timeout="2m", retry=retry, priority="low", expires=timedelta(hours=1),
            key="order_id", unique="r:{order_id}", unique_until="start", unique_for="1d", result_ttl=60,
        )(send)  # fmt: skip
        declared = job.declaration
        assert (declared.kind, declared.queue, declared.priority, declared.key) == (
            "mail.send",
            "mail",
            "low",
            "order_id",
        )
        assert (declared.policy.timeout, declared.policy.retry, declared.policy.result_ttl) == (120, retry, 60)
        assert (declared.expires, declared.unique, declared.unique_until) == (3600, "r:{order_id}", "start")
        assert declared.unique_seconds == 86400

    def test_no_timeout(self, shop: Outlast) -> None:
        assert shop.job(timeout=None)(send).declaration.policy.timeout is None
        assert shop.job(plain).declaration.policy.timeout == DEFAULTS.timeout

    def test_modes(self, shop: Outlast) -> None:
        assert shop.job(plain).declaration.mode == "thread"
        assert shop.job(kind="p", isolate="process")(plain).declaration.mode == "process"
        assert shop.job(kind="q", isolate="process")(send).declaration.mode == "process"

    @pytest.mark.parametrize("handler", [with_context, by_alias, by_module])
    def test_the_context_is_told_by_its_type(self, shop: Outlast, handler: Any) -> None:
        job = shop.job(handler)
        assert job.declaration.takes_context
        assert bytes(job.message(7).args) == b'{"order_id":7}'

    def test_two_of_one_kind(self, shop: Outlast) -> None:
        shop.job(send)
        with pytest.raises(DuplicateKind, match=r"kind 'send' is declared twice, by .*kind=\.\.\."):
            shop.job(kind="send")(plain)


def star(*numbers: int) -> None: ...
def stars(**numbers: int) -> None: ...
def positional(number: int, /) -> None: ...
def keyword(number: int, *, db: str) -> None: ...
def late(number: int, ctx: Context) -> None: ...
def later(number: int, ctx: Ctx) -> None: ...
def untyped(number) -> None: ...  # type: ignore[no-untyped-def]
def generator(number: int) -> Any:
    yield number


async def agenerator(number: int) -> Any:
    yield number


class TestRefused:
    @pytest.mark.parametrize(
        ("handler", "said"),
        [
            (star, r"\*args and \*\*kwargs cannot be stored by name"),
            (stars, r"\*args and \*\*kwargs cannot be stored by name"),
            (positional, "parameter 'number' is positional-only"),
            (keyword, "parameter 'db' is keyword-only, as only dependencies are"),
            (late, "the context 'ctx' must be the first parameter"),
            (later, "the context 'ctx' must be the first parameter"),
            (untyped, "its first parameter 'number' needs a type"),
            (generator, "cannot be a generator"),
            (agenerator, "cannot be a generator"),
            (print, "must be a function"),
        ],
    )
    def test_handlers(self, shop: Outlast, handler: Any, said: str) -> None:
        with pytest.raises(ConfigurationError, match=said):
            shop.job(handler)

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"kind": "1 x"}, "a kind is 1 to 128"),
            ({"queue": "a.b"}, "queue name 'a.b'"),
            ({"timeout": "soon"}, "timeout='soon'"),
            ({"timeout": 0}, "timeout=0: give more than 0"),
            ({"expires": -1}, "expires=-1"),
            ({"priority": "urgent"}, "priority='urgent': give 'high', 'normal' or 'low'"),
            ({"key": "id"}, "key='id' names no parameter; there are order_id, email"),
            ({"unique": "x:{id}"}, "no parameter 'id'"),
            ({"unique": "x:{}"}, "name the parameters"),
            ({"unique": "x:{"}, "is not a template"),
            ({"unique_for": 5}, "unique_until=, unique_for= and on_conflict= need unique="),
            ({"on_conflict": "replace"}, "unique_until=, unique_for= and on_conflict= need unique="),
            ({"unique": True, "on_conflict": "never"}, "on_conflict='never': give 'existing', 'replace' or 'raise'"),
            ({"unique": True, "unique_until": "never"}, "until='never'"),
            ({"isolate": "thread"}, "isolate='thread'"),
            ({"kind": ""}, "job '': a kind is 1 to 128"),
            ({"kind": 5}, "job 5: a kind is 1 to 128"),
            ({"queue": 5}, "queue name 5"),
            ({"queue": ""}, "queue name ''"),
            ({"retry": 3}, "retry=3: give Retry"),
            ({"priority": []}, "priority="),
            ({"key": 5}, "key=5: give text or a callable"),
            ({"unique": 5}, "unique=5: give text or a callable"),
            ({"unique": ""}, "unique='': give text or a callable"),
            ({"key": True}, "key=True: give text or a callable"),
            ({"tiemout": 5}, r"job has no option tiemout=: did you mean timeout=\?"),
            ({"wait": 5}, "job has no option wait=: there are aliases, expires, inherit_deadline, isolate, "),
        ],
    )
    def test_options(self, shop: Outlast, options: dict[str, Any], said: str) -> None:
        with pytest.raises(ConfigurationError, match=said):
            shop.job(**options)(send)
        assert shop.registry.declarations == {}

    def test_a_process_must_be_able_to_import_it(self, shop: Outlast) -> None:
        def local(number: int) -> None: ...

        with pytest.raises(ConfigurationError, match="must be defined at the module's top level"):
            shop.job(isolate="process")(local)

    def test_a_job_of_a_job(self, shop: Outlast) -> None:
        job: Any = shop.job(send)
        with pytest.raises(ConfigurationError, match="is a job already"):
            shop.job(kind="again")(job)

    def test_a_name_that_is_no_name(self) -> None:
        for wrong in ("my shop", "", 5):
            with pytest.raises(ConfigurationError, match="name it with letters"):
                Outlast(wrong)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("declare", "said"),
        [
            (lambda: Outlast("shop", settings="sqlite:x.db"), "give Settings"),  # type: ignore[arg-type]
            (lambda: Outlast("shop").include(5), "give a JobRouter"),  # type: ignore[arg-type]
            (lambda: Outlast("shop").observe(5), "give a callable"),  # type: ignore[call-overload]
            (lambda: Outlast("shop").queue("mail", max_depth=0), "max_depth=0"),
        ],
    )
    def test_what_an_app_is_given(self, declare: Callable[[], object], said: str) -> None:
        with pytest.raises(ConfigurationError, match=said):
            declare()


class TestWithOptions:
    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"delay": 1, "run_at": 1.0}, "delay= and run_at= both set the time"),
            ({"run_at": datetime(2026, 1, 1)}, "give a datetime with a zone"),
            ({"run_at": "noon"}, "run_at='noon'"),
            ({"delay": "x"}, "delay='x'"),
            ({"expires": -1}, "expires=-1"),
            ({"priority": "x"}, "priority='x'"),
            ({"unique": ""}, "unique key of 0 characters"),
            ({"unique": True}, "unique=True: give text"),
            ({"key": 5}, "key=5: give text"),
            ({"key": "x" * 513}, "key of 513 characters"),
            ({"delay": 1e300}, "delay=1e.300: give at most"),
            ({"run_at": 1e300}, "run_at=1e.300"),
            ({"on_conflict": "first"}, "on_conflict='first'"),
            ({"on_conflict": "raise", "id": "x"}, "is for unique keys, not for a repeated id="),
            ({"timeout": 5}, "with_options has no option timeout=: there are delay, expires, "),
            ({"prioriti": "low"}, r"with_options has no option prioriti=: did you mean priority=\?"),
        ],
    )
    def test_refused(self, shop: Outlast, options: dict[str, Any], said: str) -> None:
        with pytest.raises(ConfigurationError, match=said):
            shop.job(send).with_options(**options)

    def test_a_bad_id_is_refused(self, shop: Outlast) -> None:
        with pytest.raises(outlast.InvalidArguments, match="id='a b'"):
            shop.job(send).with_options(id="a b").message(1)

    @pytest.mark.parametrize("options", [{"key": "k\ud800"}, {"unique": "k\ud800"}])
    def test_half_a_character_is_refused(self, shop: Outlast, options: dict[str, Any]) -> None:
        with pytest.raises(outlast.InvalidArguments, match=r"key 'k\\ud800' holds half a character"):
            shop.job(send).with_options(**options)

    def test_times_count_from_the_clock(self, shop: Outlast) -> None:
        job = shop.job(queue="mail", priority="low", expires=100)(send)
        with shop.testing() as t:
            now = t.clock.time()
            plainly = job.message(1)
            delayed = job.with_options(delay="1m", expires=5, priority="high").message(1)
            at = job.with_options(run_at=datetime(2030, 1, 1, tzinfo=UTC)).message(1)
        assert (plainly.enqueued_at, plainly.run_at, plainly.expires_at, plainly.priority) == (
            now,
            now,
            now + 100,
            "low",
        )
        assert (delayed.run_at, delayed.expires_at, delayed.priority) == (now + 60, now + 65, "high")
        assert at.run_at == datetime(2030, 1, 1, tzinfo=UTC).timestamp()

    def test_no_time_lies_beyond_what_the_wire_takes(self, shop: Outlast) -> None:
        late = shop.job(send).with_options(run_at=LAST_MOMENT, expires=1e9).message(1)
        assert late.expires_at == LAST_MOMENT
        assert decode(encode(late)) == late

    def test_ids_carry_the_queue(self, shop: Outlast) -> None:
        job = shop.job(queue="mail")(send)
        assert job.message(1).id.startswith("mail.")
        assert job.with_options(id="order-7").message(1).id == "mail.order-7"
        assert job.with_options(id="mail.order-7").message(1).id == "mail.order-7"


class TestKeys:
    def test_of_a_parameter_with_its_default(self, shop: Outlast) -> None:
        job = shop.job(key="email", unique="{email}/{order_id}")(send)
        assert (job.message(1).key, job.message(1).unique) == ("", Unique("send:/1"))
        assert (job.message(1, "x").key, job.message(1, "x").unique) == ("x", Unique("send:x/1"))

    def test_of_callables_by_name(self, shop: Outlast) -> None:
        def rule(order_id: int, email: str) -> str | None:
            return f"{order_id}{email}" if email else None

        job = shop.job(key=rule, unique=rule)(send)
        assert (job.message(1).key, job.message(1).unique) == (None, None)
        assert (job.message(1, "x").key, job.message(1, "x").unique) == ("1x", Unique("send:1x"))

    def test_unique_by_all_arguments(self, shop: Outlast) -> None:
        job = shop.job(unique=True, unique_for=5)(send)
        one, same, other = job.message(1).unique, job.message(order_id=1, email="").unique, job.message(2).unique
        assert one is not None
        assert one == same != other
        assert (one.key.startswith("send:"), one.seconds) == (True, 5)

    def test_options_are_taken_as_they_are(self, shop: Outlast) -> None:
        job = shop.job(key="order_id", unique="r:{order_id}", unique_until="start")(send)
        message = job.with_options(key="k", unique="{order_id}").message(1)
        assert (message.key, message.unique) == ("k", Unique("send:{order_id}", until="start"))
        assert job.with_options(unique=Unique("u", seconds=3)).message(1).unique == Unique("send:u", seconds=3)

    @pytest.mark.parametrize("options", [{"key": "token"}, {"unique": True}, {"unique": "t:{token}"}])
    def test_none_may_tell_what_is_redacted(self, shop: Outlast, options: dict[str, Any]) -> None:
        job = shop.job(**options)(secretly)
        with pytest.raises(ConfigurationError, match=r"would show .*redacted"):
            job.message(1, "t0p")
        fine = shop.job(kind="fine", unique="{order_id}")(secretly)
        assert fine.message(1, "t0p").unique == Unique("fine:1")

    def test_a_key_of_the_wrong_length(self, shop: Outlast) -> None:
        job = shop.job(unique="{email}")(send)
        with pytest.raises(outlast.InvalidArguments, match="its unique key has 605 characters, with 'send:' before it"):
            job.message(1, "x" * 600)
        keyed = shop.job(kind="keyed", key="email")(send)
        with pytest.raises(outlast.InvalidArguments, match="its key has 600 characters"):
            keyed.message(1, "x" * 600)

    def test_a_computed_key_with_half_a_character(self, shop: Outlast) -> None:
        def half(order_id: int, email: str) -> str:
            return f"{order_id}\ud800"

        for kind, options in {"keyed": {"key": half}, "alone": {"unique": half}}.items():
            with pytest.raises(outlast.InvalidArguments, match=r"key '.*1\\ud800' holds half a character"):
                shop.job(kind=kind, **options)(send).message(1)  # type: ignore[call-overload]


class TestRouter:
    def test_before_and_after_it_is_included(self, shop: Outlast) -> None:
        router = JobRouter(queue="mail")
        first = router.job(send)
        with pytest.raises(ConfigurationError, match=r"belongs to a JobRouter that no app includes"):
            first.message(1)
        shop.include(router)
        second = router.job(queue="other")(plain)
        assert (first.message(1).queue, second.message(1).queue) == ("mail", "other")
        assert set(shop.registry.declarations) == {"send", "plain"}

    def test_once(self, shop: Outlast) -> None:
        router = JobRouter()
        shop.include(router)
        with pytest.raises(ConfigurationError, match="included in this app already"):
            shop.include(router)
        with pytest.raises(ConfigurationError, match="included in another app already"):
            Outlast("other").include(router)

    def test_two_of_one_kind(self, shop: Outlast) -> None:
        router = JobRouter()
        router.job(send)
        shop.job(send)
        with pytest.raises(DuplicateKind):
            shop.include(router)


class TestLight:
    def test_declaring_imports_nothing_heavy_and_does_no_io(self) -> None:
        code = """
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append(args) if event in ("socket.connect", "sqlite3.connect") else None)
import outlast
from outlast import Context, JobRouter, Outlast, Retry, Settings
shop = Outlast("shop")
def declare():
    own = lambda args: "outlast" in str(args[0])
    sys.addaudithook(lambda event, args: opened.append(args) if event == "open" and not own(args) else None)
    @shop.job(queue="mail", retry=Retry(attempts=3))
    async def send(ctx: Context, order_id: int) -> None: ...
    @shop.job
    def plain(order_id: int) -> None: ...
    shop.queue("mail", max_depth=5)
declare()
heavy = {"asyncio", "pydantic", "pydantic_core", "pydantic_settings", "apsw", "typer", "fastapi", "uvicorn", "rich"}
print(sorted(heavy & set(sys.modules)), opened)
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "[] []\n"

    def test_every_public_name_is_there(self) -> None:
        for name in outlast.__all__:
            assert getattr(outlast, name) is not None
        assert set(outlast.__all__) <= set(dir(outlast))
        with pytest.raises(AttributeError, match="has no attribute 'Task'"):
            outlast.Task  # noqa: B018
