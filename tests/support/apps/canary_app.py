"""Jobs that spill their redacted arguments in each form that an exception may have, each with a canary of its own."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any
from urllib.parse import quote

from outlast import CallNext, Constant, Context, GiveUp, Job, Outlast, Redacted, Retry

__all__ = ["CANARIES", "Card", "canary", "declare", "leaks", "spills"]

CANARIES = 60
TWICE = Retry(attempts=2, backoff=Constant(0))


def canary(number: int) -> str:
    """Return one of the secrets."""
    assert 0 <= number < CANARIES
    return f"canary{number:02d}{sha256(str(number).encode()).hexdigest()[:12]}"


def leaks(text: str) -> list[int]:
    """Return the numbers of the secrets that a text shows: as they are, in upper case, in base64 or in hex."""
    lower = text.lower()
    return [n for n in range(CANARIES) if any(each in text or each.lower() in lower for each in _shapes(canary(n)))]


def _shapes(secret: str) -> Iterator[str]:
    yield secret
    yield secret.encode().hex()
    for before in range(3):  # wherever it stands in what is encoded
        yield b64encode(bytes(before) + secret.encode()).decode()[4 if before else 0 : -4]


FORMS: dict[str, Callable[[Any], str]] = {
    "plain": str,
    "repr": repr,
    "json": lambda secret: json.dumps({"password": str(secret)}),
    "base64": lambda secret: b64encode(_bytes(secret)).decode(),
    "hex": lambda secret: _bytes(secret).hex(),
    "quoted": lambda secret: quote(f" {secret}"),
    "upper": lambda secret: str(secret).upper(),
    "lines": lambda secret: f"a\n{secret}\nb",
}


def _bytes(secret: Any) -> bytes:
    return secret if isinstance(secret, bytes) else str(secret).encode()


@dataclass
class Card:
    """A card with a number that no one may see."""

    owner: str
    number: Annotated[str, Redacted]


def spill(secret: Any, form: str) -> None:
    """Raise an error that shows it."""
    text = FORMS.get(form, str)(secret)
    if form == "group":
        raise ExceptionGroup("several", [ValueError(text), OSError(text)])
    if form == "cause":
        raise LookupError("it failed") from ValueError(text)
    error = GiveUp(text) if form == "give up" else ValueError(text)
    error.add_note(f"seen: {text}")
    raise error


def declare(shop: Outlast) -> dict[str, Job[Any, Any]]:
    """Declare the jobs; return them by name."""

    @shop.middleware
    async def around(ctx: Context, call_next: CallNext) -> Any:
        if ctx.headers.get("spill") == "middleware":
            ctx.logger.warning("the arguments are %r", ctx.arguments)
        return await call_next()

    @shop.job(queue="spill", retry=TWICE)
    async def spill_text(form: str, secret: Annotated[str, Redacted]) -> None:
        spill(secret, form)

    @shop.job(queue="spill", retry=TWICE)
    async def spill_bytes(form: str, secret: Annotated[bytes, Redacted]) -> None:
        spill(secret, form)

    @shop.job(queue="spill", retry=TWICE)
    async def spill_list(form: str, secrets: Annotated[list[str], Redacted]) -> None:
        spill(secrets, form)

    @shop.job(queue="spill", retry=TWICE)
    async def spill_map(form: str, secrets: Annotated[dict[str, str], Redacted]) -> None:
        spill(secrets, form)

    @shop.job(queue="spill", retry=TWICE)
    async def spill_card(form: str, card: Card) -> None:
        spill(card.number, form)

    @shop.job(queue="spill", retry=TWICE)
    def spill_in_thread(form: str, secret: Annotated[str, Redacted]) -> None:
        spill(secret, form)

    @shop.job(queue="spill", retry=TWICE)
    async def checked(pin: Annotated[int, Redacted]) -> None: ...

    jobs = (spill_text, spill_bytes, spill_list, spill_map, spill_card, spill_in_thread, checked)
    return {each.kind: each for each in jobs}


def spills() -> Iterator[tuple[str, tuple[Any, ...], dict[str, str]]]:
    """Yield the calls: kind, arguments, headers. They use the canaries 0 to 25."""
    number = iter(range(26))
    for form in (*FORMS, "group", "cause", "give up"):
        yield "spill_text", (form, canary(next(number))), {}
    for form in ("plain", "repr", "base64", "hex"):
        yield "spill_bytes", (form, canary(next(number)).encode()), {}
    for form in ("repr", "json"):
        yield "spill_list", (form, ["a", canary(next(number))]), {}
        yield "spill_map", (form, {"key": canary(next(number))}), {}
        yield "spill_card", (form, Card("ann", canary(next(number)))), {}
        yield "spill_in_thread", (form, canary(next(number))), {}
    for form in ("plain", "cause", "lines"):
        yield "spill_text", (form, canary(next(number))), {"spill": "middleware"}
    assert list(number) == []
