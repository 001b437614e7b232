"""The mail server of the demo: accept e-mails by SMTP and record them in a file."""

from __future__ import annotations

import asyncio
import signal
import time
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import msgspec
from aiosmtpd.smtp import SMTP, Envelope, Session

from outlast.demo.run_files import run_files

__all__ = ["Catcher", "Mail"]


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    """An accepted e-mail."""

    order: str
    message_id: str
    to: str
    at: float


class Catcher:
    """An aiosmtpd handler that appends a line to a file for each message before it answers the sender."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Accept one message; refuse one without an X-Order header permanently."""
        raw = envelope.content if isinstance(envelope.content, bytes) else str(envelope.content).encode()
        message = message_from_bytes(raw, policy=default)
        order = message["X-Order"]
        if not order:
            return "550 a receipt needs an X-Order header"
        mail = Mail(
            order=str(order),
            message_id=str(message["Message-ID"]),
            to=",".join(envelope.rcpt_tos),
            at=time.time(),
        )
        self._file.write(msgspec.json.encode(mail) + b"\n")
        return "250 accepted"

    def close(self) -> None:
        """Close the file."""
        self._file.close()


async def _serve() -> None:
    files = run_files()
    catcher = Catcher(files.mails)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(lambda: SMTP(catcher, hostname="mail.localhost"), "127.0.0.1", files.smtp)
    async with server:
        await stop.wait()
    catcher.close()


if __name__ == "__main__":
    asyncio.run(_serve())
