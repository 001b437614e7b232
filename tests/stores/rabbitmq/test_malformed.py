"""Messages that are no jobs, between jobs: each becomes a dead letter with its reason, and the jobs arrive."""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter

from outlast.core.message import Delivery
from outlast.core.settlement import Finish
from tests.stores.rabbitmq.bench import Bench
from tests.support.jobs import A
from tests.support.malformed import MalformedMessage, Why, malformed_messages, odd_messages
from tests.support.polling import until
from tests.support.raw_amqp import raw_channel

NUMBER = int(os.environ.get("OUTLAST_TEST_MALFORMED", "150"))
"""1,000 in the proof."""
REASONS: dict[Why, str] = {
    "json": "args must be a JSON object|args=|not a job",
    "object": "args must be a JSON object",
    "depth": "args are nested deeper|args must be a JSON object",
    "size": "a body of 10",
    "kind": "no kind: set|kind ",
    "id": "id ?=?'|job id |id ",
    "headers": "header",
    "properties": "a property is not UTF-8",
}


async def test_each_is_a_dead_letter_with_its_reason_and_the_jobs_between_them_run(bench: Bench) -> None:
    messages = [*malformed_messages("q", "send", NUMBER), *odd_messages("q", "send")]
    no_jobs = [each for each in messages if each.job not in (None, "arguments")]
    jobs = len(messages) - len(no_jobs)
    await asyncio.to_thread(_publish, bench.url, messages)
    taken: list[Delivery] = []

    async def run() -> bool:
        given = await bench.broker.claim({"q": 100}, limit=100, holder=A, lease=10, wait=1)
        taken.extend(given)
        await bench.settle(*(Finish(each.fence, "succeeded") for each in given))
        return len(taken) >= jobs and await bench.stats() == (0, 0, len(no_jobs))

    await until(run, "all are jobs or dead letters")
    assert len(taken) == jobs
    letters = await bench.letters(len(no_jobs))
    reasons = Counter(str(headers["outlast-reason"]) for _, headers in letters)
    assert all(reasons)
    expected = Counter(each.job for each in no_jobs)
    for why, pattern in REASONS.items():
        matching = sum(number for reason, number in reasons.items() if re.match(pattern, reason))
        assert matching >= expected[why], (why, reasons)


def _publish(url: str, messages: list[MalformedMessage]) -> None:
    with raw_channel(url) as channel:
        for each in messages:
            channel.publish("", "q", each.properties, each.body)
