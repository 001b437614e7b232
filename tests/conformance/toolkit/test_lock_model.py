"""Any sequence of steps has the same answers on every store: the form in memory is the model of the others."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outlast.testing.clock import FakeClock
from outlast.toolkit.access import Toolkit
from outlast.toolkit.lock.forms import lock_store
from outlast.toolkit.lock.memory import MemoryLocks
from outlast.toolkit.lock.store import Ask, Holding, LockStore
from outlast.toolkit.memory import ToolkitMemory
from outlast.toolkit.store import ToolkitStore
from tests.support.locks import empty

HOLDERS = [f"h{number}" for number in range(5)]
KEYS = ["lock:a", "lock:b"]
holders, keys = st.sampled_from(HOLDERS), st.sampled_from(KEYS)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), keys, holders, st.sampled_from([1.0, 4.0, 20.0]), st.booleans()),
        st.tuples(st.just("renew"), keys, holders, st.sampled_from([2.0, 9.0])),
        st.tuples(st.just("leave"), keys, holders),
        st.tuples(st.just("advance"), st.sampled_from([0.5, 1.5, 3.0, 7.0])),
        st.tuples(st.just("empty")),
    ),
    min_size=5,
    max_size=40,
)


async def done(store: LockStore, step: tuple[object, ...], run: int, slots: int, seen: int) -> object:
    """Do one step, and return what the caller is told; a place that ends is compared by what follows from it."""
    match step:
        case ("ask", str(key), str(holder), float(lease), bool(join)):
            turn = await store.ask(Ask(f"{key}{run}", f"{holder}{key}{run}", slots, lease, join, seen))
            return turn.token, turn.ticket
        case ("renew", str(key), str(holder), float(lease)):
            return await store.renew([Holding(f"{key}{run}", f"{holder}{key}{run}", lease)])
        case ("leave", str(key), str(holder)):
            await store.leave(Holding(f"{key}{run}", f"{holder}{key}{run}"))
    return None


runs = iter(range(10**6))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, slots=st.integers(1, 3))
async def test_every_store_answers_as_the_model(
    kit: Toolkit, clock: FakeClock, steps: list[tuple[object, ...]], slots: int
) -> None:
    memory = ToolkitMemory(clock)
    model, run, seen = MemoryLocks(memory), next(runs), 0
    # One whose counter is ahead of the store's would tell nothing of the counter.
    await empty(kit)
    clock.advance(1)
    for step in steps:
        if step[0] == "advance":
            clock.advance(step[1])  # type: ignore[arg-type]
        elif step[0] == "empty":
            await empty(kit)
            memory = ToolkitMemory(clock)
            model = MemoryLocks(memory)
        else:

            async def on_store(store: ToolkitStore, step: tuple[object, ...] = step, seen: int = seen) -> object:
                return await done(lock_store(store), step, run, slots, seen)

            found, wanted = await kit.use(on_store), await done(model, step, run, slots, seen)
            assert found == wanted, step
            if isinstance(found, tuple):
                seen = max(seen, *found)
