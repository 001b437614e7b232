"""Workers over RabbitMQ that are killed and poisoned, and servers that are; judged by the ledger and by the server."""

from __future__ import annotations

import asyncio
import signal

import psutil
import pytest

from outlast import EnqueueUnknown, StoreError
from tests.faults.kill.app import blocks, brief, hogs, poison
from tests.faults.kill.scene import exited
from tests.faults.rabbitmq.transport_scene import RabbitScene, fragile, names, node, scene
from tests.support.polling import until
from tests.support.servers.rabbitmq_server import Alarm

__all__ = ["fragile", "node", "scene"]


async def test_the_orphans_of_a_killed_worker_run_again_and_nothing_else_does(scene: RabbitScene) -> None:
    for name in names(20):
        await scene.enqueue(brief, name, 0.6)
    with scene.start(processes=2, concurrency=10):
        await scene.started(*names(20))
        first = {each.name: each.pid for each in scene.ledger.read("start")}
        victim = first["job-0"]
        psutil.Process(victim).kill()
        await scene.ended(*names(20))
        await scene.done()
    ended = {each.name for each in scene.ledger.read("end") if each.pid == victim}
    orphans = {name for name, pid in first.items() if pid == victim} - ended
    assert orphans
    assert {name for name, count in scene.ledger.names("start").items() if count > 1} >= orphans
    # One that ended in the moment of the kill may run again: its acknowledgement was not sent.
    assert scene.ledger.names("end").keys() == set(names(20))
    assert "has no connection to the store" not in scene.told()


async def test_poison_is_dead_after_it_killed_two_workers_and_then_itself_alone(scene: RabbitScene) -> None:
    for name in names(12):
        await scene.enqueue(brief, name, 0.3)
    await scene.enqueue(poison, "poison")
    with scene.start(processes=2, concurrency=10):
        await scene.ended(*names(12))
        await scene.done(dead=1)
    assert scene.ledger.names("start")["poison"] == 3
    assert scene.ledger.names("end").keys() == set(names(12))
    letter = await scene.letter()
    headers = letter.properties().headers
    assert (letter.properties().type, headers["outlast-reason"]) == ("poison", "poison")


async def test_past_its_hard_deadline_a_worker_is_killed_and_its_neighbours_run_on(scene: RabbitScene) -> None:
    with scene.start(processes=1, concurrency=10):
        for name in names(3):
            await scene.enqueue(brief, name, 1.0)
        await scene.started(*names(3))
        await scene.enqueue(hogs, "hog")
        await scene.ended(*names(3))
        await scene.done(dead=1)
    assert scene.ledger.names("end").keys() == set(names(3))
    assert (await scene.letter()).properties().headers["outlast-reason"] == "timeout"
    assert "jobs past their hard deadline" in scene.told()


async def test_a_handler_that_blocks_the_loop_keeps_its_jobs(scene: RabbitScene) -> None:
    for name in names(4):
        await scene.enqueue(blocks, name, 3.0)
    with scene.start(processes=1, concurrency=4):
        await scene.ended(*names(4))
        await scene.done()
    assert scene.ledger.names("start") == dict.fromkeys(names(4), 1)


async def test_a_stop_drains_and_leaves_what_has_not_begun_to_others_with_its_attempt(scene: RabbitScene) -> None:
    for name in names(8):
        await scene.enqueue(brief, name, 1.0)
    with scene.start(processes=1, concurrency=3) as running:
        await until(lambda: len(scene.ledger.names("start")) >= 3, "three run")
        running.process.terminate()
        assert await exited(running) == 0
    began = scene.ledger.names("start")
    assert began == scene.ledger.names("end")
    assert len(began) < 8
    with scene.start(processes=1, concurrency=10):
        await scene.ended(*names(8))
        await scene.done()
    assert scene.ledger.names("end") == dict.fromkeys(names(8), 1)


async def test_workers_whose_supervisor_was_killed_finish_what_they_run_and_leave(scene: RabbitScene) -> None:
    for name in names(4):
        await scene.enqueue(brief, name, 2.0)
    with scene.start(processes=2, concurrency=2) as running:
        await scene.started(*names(4))
        workers = [psutil.Process(pid) for pid in running.workers()]
        running.process.send_signal(signal.SIGKILL)
        await until(lambda: not any(_alive(each) for each in workers), "the workers leave")
    assert scene.ledger.names("end") == dict.fromkeys(names(4), 1)
    await scene.done()


def _alive(process: psutil.Process) -> bool:
    return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)


async def test_a_killed_server_loses_nothing_and_is_consumed_again_when_it_is_back(
    fragile: RabbitScene,
) -> None:
    scene = fragile
    for name in names(30):
        await scene.enqueue(brief, name, 0.5)
    with scene.start(processes=2, concurrency=5):
        await until(lambda: len(scene.ledger.names("end")) >= 3, "some have ended")
        await asyncio.to_thread(scene.server.kill)
        await asyncio.to_thread(scene.server.start)
        await scene.persist("job-30")
        await scene.ended(*names(31))
        await scene.done()
    assert scene.ledger.names("end").keys() == set(names(31))
    assert "is consumed again" in scene.told()


async def test_an_enqueue_ends_within_its_deadline_while_the_server_is_away(fragile: RabbitScene) -> None:
    scene = fragile
    await scene.enqueue(brief, "before", 0.0)
    await asyncio.to_thread(scene.server.kill)
    with pytest.raises((EnqueueUnknown, StoreError)):
        await scene.enqueue(brief, "during", 0.0)
    await asyncio.to_thread(scene.server.start)
    await scene.persist("after")
    with scene.start(processes=1):
        await scene.ended("before", "after")
        await scene.done()


@pytest.mark.parametrize("low_on", ["memory", "disk"])
async def test_in_an_alarm_an_enqueue_is_unknown_and_acks_go_on(fragile: RabbitScene, low_on: Alarm) -> None:
    scene = fragile
    for name in names(6):
        await scene.enqueue(brief, name, 0.2)
    with scene.start(processes=1):
        with scene.server.alarm(low_on):
            with pytest.raises(EnqueueUnknown) as unknown:
                await scene.enqueue(brief, "late", 0.0)
            assert unknown.value.id
            await scene.ended(*names(6))
            await until(lambda: _drained(scene), "they are acknowledged")
        await scene.persist("after")
        await scene.ended("after")
        await scene.done()
    assert scene.ledger.names("start").keys() <= {*names(6), "late", "after"}


async def _drained(scene: RabbitScene) -> bool:
    jobs, _ = await scene.counted()
    return jobs == 0


@pytest.mark.parametrize("queue", ["default", "default.dead"])
async def test_a_queue_that_was_deleted_is_made_again(scene: RabbitScene, queue: str) -> None:
    with scene.start(processes=1):
        await scene.enqueue(brief, "before", 0.0)
        await scene.ended("before")
        await asyncio.to_thread(scene.server.api, "DELETE", f"queues/{scene.vhost}/{queue}")
        await scene.enqueue(brief, "after", 0.0)
        await scene.enqueue(poison, "poison")
        await scene.ended("after")
        await scene.done(dead=1)
