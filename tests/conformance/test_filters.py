"""Records: searching by arguments, reason and time; what is redacted is never found."""

from __future__ import annotations

import pytest

from outlast.brokers.sqlite import searching
from outlast.core.matching import ArgIs, JsonScalar
from outlast.core.store.records import Query, Without
from tests.support.jobs import Desk


async def found(desk: Desk, **fields: object) -> list[str]:
    """Return the ids that a query finds; `count` must agree."""
    page = await desk.store.find(Query(**fields))  # type: ignore[arg-type]
    assert sum((await desk.store.count(Query(**fields))).values()) == len(page.records)  # type: ignore[arg-type]
    return [record.id for record in page.records]


def at(path: str, *values: JsonScalar) -> tuple[ArgIs, ...]:
    return (ArgIs(tuple(path.split(".")), values),)


async def test_by_an_argument(desk: Desk) -> None:
    await desk.publish("q.number", args={"n": 7})
    await desk.publish("q.float", args={"n": 7.0})
    await desk.publish("q.text", args={"n": "7"})
    await desk.publish("q.true", args={"n": True})
    await desk.publish("q.one", args={"n": 1})
    await desk.publish("q.null", args={"n": None})
    await desk.publish("q.none", args={"m": 7})
    assert await found(desk, args=at("n", 7)) == ["q.float", "q.number"]
    assert await found(desk, args=at("n", "7")) == ["q.text"]
    assert await found(desk, args=at("n", 7, "7")) == ["q.text", "q.float", "q.number"]
    assert await found(desk, args=at("n", True)) == ["q.true"]
    assert await found(desk, args=at("n", 1)) == ["q.one"]
    assert await found(desk, args=at("n", None)) == ["q.null"]
    assert await found(desk, args=(*at("n", 7), *at("m", 7))) == []


async def test_by_a_nested_argument(desk: Desk) -> None:
    await desk.publish("q.1", args={"customer": {"city": "Köln", "0": "zero"}, "items": [{"sku": "a"}, {"sku": "b"}]})
    await desk.publish("q.2", args={"customer": "Köln", "items": {"1": {"sku": "b"}}})
    assert await found(desk, args=at("customer.city", "Köln")) == ["q.1"]
    assert await found(desk, args=at("customer", "Köln")) == ["q.2"]
    assert await found(desk, args=at("items.1.sku", "b")) == ["q.2", "q.1"]
    assert await found(desk, args=at("customer.0", "zero")) == ["q.1"]
    assert await found(desk, args=at("items", "a")) == []


@pytest.mark.parametrize("text", ["it's", 'say "x"', "%", "a\\b", "null", "", "Köln \U0001f600"])
async def test_text_is_compared_as_it_is(desk: Desk, text: str) -> None:
    await desk.publish("q.1", args={"n": text})
    await desk.publish("q.2", args={"n": f"{text}!"})
    assert await found(desk, args=at("n", text)) == ["q.1"]


@pytest.mark.parametrize("number", [2**53 + 1, 2**63, -(2**63), 2**70, 1e300, 0.1])
async def test_large_numbers(desk: Desk, number: float) -> None:
    await desk.publish("q.1", args={"n": number})
    assert await found(desk, args=at("n", number)) == ["q.1"]


async def test_what_is_redacted_is_never_found(desk: Desk) -> None:
    await desk.publish("q.1", args={"card": "4111", "n": 1, "deep": {"pin": 1}}, redacted=("card", "deep"))
    await desk.publish("q.2", args={"card": "4111", "n": 1})
    assert await found(desk, args=at("card", "4111")) == ["q.2"]
    assert await found(desk, args=at("card", "[redacted]")) == []
    assert await found(desk, args=at("deep.pin", 1)) == []
    assert await found(desk, args=at("n", 1)) == ["q.2", "q.1"]


async def test_by_reason(desk: Desk) -> None:
    await desk.run("q.1", state="dead", reason="attempts")
    await desk.run("q.2", state="dead", reason="gave-up")
    await desk.publish("q.3", expires=5)
    desk.clock.advance(6)
    assert await found(desk, reason="attempts") == ["q.1"]
    assert await found(desk, reason="expired") == ["q.3"]
    assert await found(desk, states=("dead",), reason="gave-up") == ["q.2"]


async def test_by_time_of_acceptance(desk: Desk) -> None:
    await desk.publish("q.1")
    desk.clock.advance(10)
    moment = desk.clock.time()
    await desk.publish("q.2")
    assert await found(desk, accepted_before=moment) == ["q.1"]
    assert await found(desk, accepted_after=moment) == ["q.2"]
    assert await found(desk, accepted_after=moment, accepted_before=moment) == []


async def test_pages_of_a_search_that_walks(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "WINDOW", 7)
    for number in range(60):
        await desk.publish(f"q.{number}", args={"odd": number % 2})
    await desk.run("r.1", state="dead")
    expected = [f"q.{number}" for number in range(59, -1, -1) if number % 2]
    seen: list[str] = []
    cursor = None
    while True:
        page = await desk.store.find(Query(args=at("odd", 1), limit=10, cursor=cursor))
        seen += [record.id for record in page.records]
        cursor = page.cursor
        if cursor is None:
            break
        assert len(page.records) == 10
    assert seen == expected
    assert await desk.store.count(Query(args=at("odd", 1))) == {"ready": 30}
    assert (await found(desk, states=("dead", "ready"), args=at("odd", 1), limit=1000)) == expected


async def test_what_no_job_of_a_query_meets(desk: Desk) -> None:
    await desk.publish("q.1", kind="send", key="a", args={"n": 1, "card": "4111"}, redacted=("card",))
    await desk.publish("q.2", kind="send@2", key="b", args={"n": 2})
    await desk.publish("r.3", kind="bill", args={"m": 1, "card": "4111"})
    await desk.publish("s.4", kind="bill")
    assert await desk.ids("s") == ["s.4"]
    assert await desk.finish("s.4", state="dead", reason="attempts") == []

    async def without(*conditions: Without, **fields: object) -> list[str]:
        return sorted(await found(desk, without=conditions, **fields), reverse=True)  # a Cluster sorts within queues

    assert await without(Without("kind", "send")) == ["s.4", "r.3"]
    assert await without(Without("kind", "send@2")) == ["s.4", "r.3", "q.1"]
    assert await without(Without("queue", "q")) == ["s.4", "r.3"]
    assert await without(Without("key", "a")) == ["s.4", "r.3", "q.2"], "a job without a key stays"
    assert await without(Without("reason", "attempts")) == ["r.3", "q.2", "q.1"]
    assert await without(Without("args", at("n", 1)[0])) == ["s.4", "r.3", "q.2"]
    assert await without(Without("args", at("card", "4111")[0])) == ["s.4", "q.2", "q.1"], (
        "a redacted one equals nothing"
    )
    assert await without(Without("kind", "bill"), Without("key", "a")) == ["q.2"]
    assert await without(Without("kind", "bill"), key="a") == ["q.1"]
    assert await without(Without("queue", "r"), states=("ready",), args=at("n", 2)) == ["q.2"]
