"""The mail server of the demo: it takes e-mails by SMTP, looks at the PDF in each, and writes down what it got."""

from __future__ import annotations

import asyncio
import signal
import time
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import msgspec
from aiosmtpd.smtp import SMTP, Envelope, Session

from outlast.demo.run_files import here

__all__ = ["Catcher", "Mail"]


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    """One e-mail that was taken. pdf_bytes: the size of its PDF; 0 when there is none that begins as one."""

    order: str
    message_id: str
    to: str
    pdf_bytes: int
    at: float


class Catcher:
    """An aiosmtpd handler that appends a line for each message before the sender is answered."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Take one message. Refuse for good what is no invoice of the shop."""
        raw = envelope.content if isinstance(envelope.content, bytes) else str(envelope.content).encode()
        message = message_from_bytes(raw, policy=default)
        order = message["X-Order"]
        if not order:
            return "550 an invoice needs an X-Order header"
        pdfs = [
            part.get_content() for part in message.iter_attachments() if part.get_content_type() == "application/pdf"
        ]
        mail = Mail(
            order=str(order),
            message_id=str(message["Message-ID"]),
            to=",".join(envelope.rcpt_tos),
            pdf_bytes=sum(len(pdf) for pdf in pdfs if pdf.startswith(b"%PDF-")),
            at=time.time(),
        )
        self._file.write(msgspec.json.encode(mail) + b"\n")
        return "250 taken"

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


async def _serve() -> None:
    places = here()
    catcher = Catcher(places.mails)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(lambda: SMTP(catcher, hostname="mail.localhost"), "127.0.0.1", places.smtp)
    async with server:
        await stop.wait()
    catcher.close()


if __name__ == "__main__":
    asyncio.run(_serve())
