"""What a job answers to the names and options that other queues have, and to code that cannot be a job."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from outlast import ConfigurationError, InvalidArguments, JobNotFound, JobRouter, Outlast
from tests.support.working import new_app

shop = Outlast("shop")


@shop.job
async def send(n: int) -> int:
    return n


@shop.job(queue="mail", aliases=("rendered",))
async def render(n: int) -> str:
    return str(n)


def own(n: int) -> None: ...


def own_of_class(cls: type, /) -> None: ...


@pytest.mark.parametrize("name", ["delay", "send", "kiq", "push", "defer", "perform_async", "s"])
def test_a_name_of_an_enqueue_elsewhere_is_answered_with_the_one_here(name: str) -> None:
    with pytest.raises(AttributeError, match=r"write `await send\.enqueue\(\.\.\.\)`, or send\.enqueue_sync"):
        getattr(send, name)


@pytest.mark.parametrize("name", ["apply_async", "send_with_options", "schedule", "enqueue_in"])
def test_an_enqueue_with_options_elsewhere_is_answered_with_the_one_here(name: str) -> None:
    with pytest.raises(AttributeError, match=r"await send\.with_options\(delay=60\)\.enqueue"):
        getattr(send, name)


def test_other_attributes_are_refused_as_python_does() -> None:
    with pytest.raises(AttributeError, match=r"'Job' object has no attribute 'colour'$"):
        send.colour  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError, match="give all options in one call"):
        send.with_options(delay=1).with_options(delay=2)  # type: ignore[attr-defined]
    assert copy.copy(send).kind == "send"
    assert not hasattr(send, "__len__")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("delay", r"delay= is an option: send\.with_options\(delay=\.\.\.\)\.enqueue"),
        ("countdown", r"send\.with_options\(delay=\.\.\.\)"),
        ("eta", r"send\.with_options\(run_at=\.\.\.\)"),
        ("_delay", r"send\.with_options\(delay=\.\.\.\)"),
        ("job_id", r"send\.with_options\(id=\.\.\.\)"),
        ("priority", r"send\.with_options\(priority=\.\.\.\)"),
        ("timeout", r"timeout= is declared: @job\(timeout=\.\.\.\)"),
        ("colour", r"no such parameter \(it takes n\)$"),
    ],
)
def test_an_option_among_the_arguments_is_answered_with_its_place(name: str, text: str) -> None:
    values: dict[str, Any] = {"n": 1, name: 3}
    with pytest.raises(InvalidArguments, match=text):
        send.message(**values)


def test_a_parameter_with_the_name_of_an_option_is_a_parameter() -> None:
    @Outlast("own").job
    async def wait(delay: int) -> None: ...

    assert bytes(wait.message(delay=3).args) == b'{"delay":3}'


def test_a_method_cannot_be_a_job_and_the_error_says_what_to_write() -> None:
    for decorate in (shop.job, JobRouter().job):
        with pytest.raises(ConfigurationError, match="a worker has no object for 'self'"):

            class Mailer:
                @decorate
                def send(self, n: int) -> None: ...

        with pytest.raises(ConfigurationError, match="a worker has no object for 'cls'"):

            class Other:
                @decorate
                async def send(cls: Any, n: int) -> None: ...

        wrong: Any
        for wrong in (staticmethod(own), classmethod(own_of_class)):
            with pytest.raises(ConfigurationError, match="put @staticmethod above @job"):
                decorate(wrong)

    class Fine:
        @staticmethod
        @shop.job(kind="fine")
        def send(n: int) -> None: ...

    assert Fine.send.message(1).kind == "fine"

    def self_less(self: int) -> None: ...

    assert shop.job(self_less).message(1).kind == "self_less"


async def test_a_handle_of_a_kind_refuses_a_job_of_another_kind() -> None:
    async with shop.testing() as t:
        sent, rendered = await send.enqueue(1), await render.enqueue(2)
        await t.drain()
        number: int = await send.handle(sent.id).result()
        text: str = await render.handle(rendered.id).result()
        assert (number, text) == (1, "2")
        wrong = render.handle(sent.id)
        for call in (wrong.record, wrong.status, wrong.result, wrong.cancel):
            with pytest.raises(JobNotFound, match=r"is of kind 'send', not 'render'"):
                await call()
        assert wrong == sent


async def test_a_handle_of_another_kind_cancels_nothing() -> None:
    async with shop.testing():
        waiting = await send.enqueue(1)
        with pytest.raises(JobNotFound):
            await render.handle(waiting.id).cancel()
        assert await waiting.status() == "ready"
        assert await send.handle(waiting.id).cancel()


async def test_a_handle_of_a_kind_takes_jobs_of_its_former_name_and_ids_only() -> None:
    former = new_app("memory:")

    @former.job(kind="rendered", queue="mail")
    async def old(n: int) -> None: ...

    async with shop.testing() as t:
        await t.store.publish([old.message(5)])
        (enqueued,) = t.enqueued()
        assert (await render.handle(enqueued.id).record()).kind == "rendered"
        with pytest.raises(InvalidArguments):
            render.handle("no id")
    with pytest.raises(ConfigurationError, match="a JobRouter that no app includes"):
        JobRouter().job(old.handler).handle("mail.1")
