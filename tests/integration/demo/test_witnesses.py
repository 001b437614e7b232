"""The demo's payment provider and mail server, as real processes: they keep what they answered, through a kill."""

from __future__ import annotations

import asyncio
import smtplib
from email.message import EmailMessage
from pathlib import Path
from random import Random

import httpx2
import msgspec

from outlast.demo.journal import Tail
from outlast.demo.mail import Mail
from outlast.demo.processes import DemoProcess
from outlast.demo.provider import DROP_EVERY, Statement
from outlast.demo.run_files import RunFiles, free_ports


def places(directory: Path) -> RunFiles:
    shop, provider, smtp = free_ports(3, Random())
    found = RunFiles(root=str(directory), shop=shop, provider=provider, smtp=smtp)
    found.save()
    return found


async def test_the_provider_charges_once_through_broken_answers_and_a_kill(tmp_path: Path) -> None:
    spots = places(tmp_path)
    part = DemoProcess("provider", ["outlast.demo.provider"], tmp_path)
    url = f"http://127.0.0.1:{spots.provider}"

    async def charge(client: httpx2.AsyncClient, number: int) -> int | None:
        wish = {"order": f"order-{number}", "cents": 100 + number}
        try:
            answer = await client.post("/charges", json=wish, headers={"Idempotency-Key": f"key-{number}"})
        except httpx2.RemoteProtocolError:
            return None
        return answer.status_code

    await part.start(port=spots.provider)
    try:
        async with httpx2.AsyncClient(base_url=url, timeout=10) as client:
            first = await asyncio.gather(*(charge(client, number) for number in range(DROP_EVERY)))
            assert sorted(str(status) for status in first) == ["201"] * (DROP_EVERY - 1) + ["None"]
            broken = first.index(None)
            assert await charge(client, broken) == 200
            refused = await client.post("/charges", json={"order": "x", "cents": 1})
            assert refused.status_code == 400
            changed = await client.post(
                "/charges", json={"order": "x", "cents": 1}, headers={"Idempotency-Key": "key-0"}
            )
            assert changed.status_code == 409
        await part.kill()
        assert part.pid is None
        await part.start(port=spots.provider)
        async with httpx2.AsyncClient(base_url=url, timeout=10) as client:
            statement = msgspec.json.decode((await client.get("/ledger")).content, type=Statement)
            assert await charge(client, broken) == 200
    finally:
        await part.stop()
    assert sorted(c.order for c in statement.charges) == sorted(f"order-{number}" for number in range(DROP_EVERY))
    assert statement.repeats == 1


async def test_the_mail_server_writes_down_what_it_got(tmp_path: Path) -> None:
    spots = places(tmp_path)
    part = DemoProcess("mail", ["outlast.demo.mail"], tmp_path)
    message = EmailMessage()
    message["From"], message["To"], message["X-Order"] = "shop@example.com", "a@example.com", "order-1"
    message["Message-ID"] = "<receipt.order-1@example.com>"
    message.set_content("Thank you.")

    def send() -> None:
        with smtplib.SMTP("127.0.0.1", spots.smtp, timeout=10) as smtp:
            smtp.send_message(message)

    await part.start(port=spots.smtp)
    try:
        await asyncio.to_thread(send)
    finally:
        assert await part.stop() == 0
    (mail,) = [msgspec.json.decode(line, type=Mail) for line in Tail(spots.mails).lines()]
    assert mail.order == "order-1"
    assert mail.message_id == "<receipt.order-1@example.com>"
    assert mail.to == "a@example.com"
