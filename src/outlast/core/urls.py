"""Mask the secrets in the URLs of stores, also in URLs that cannot be read."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["mask_urls", "redact_url"]

MASK: Final = "***"

# What is shown has to have the form of a part that is no secret: a mistyped URL has its password in any of the parts.
_SCHEME: Final = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]{0,31}):(/*)")
_KNOWN: Final = re.compile(r"(?:rediss?(?:\+[a-z]+)?|amqps?|sqlite|memory)\Z", re.IGNORECASE)
_FILE: Final = re.compile(r"\s*(?:sqlite|file):(?!//[^/])", re.IGNORECASE)
_USER: Final = re.compile(r"([A-Za-z0-9_.-]{0,64}):(.+)", re.DOTALL)
_HOST: Final = r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+(?:%\w+)?\])(?::[0-9]{1,5})?"
_PLACE: Final = re.compile(rf"(?:{_HOST}(?:,{_HOST})*)?(?:/[A-Za-z0-9_.%-]*){{0,9}}\Z")
_SECRET: Final = re.compile(r"pass|pwd|secret|token|key|auth|credential", re.IGNORECASE)
_VALUE: Final = re.compile(r"[A-Za-z0-9_./:,+%~-]*\Z")
_PARAMETER: Final = re.compile(r"(?P<name>[?&;][^=&;?]*=)(?P<value>[^&;]*)")
_START: Final = re.compile(
    r"(?<![A-Za-z0-9+.-])(?:(?:rediss?(?:\+[a-z]+)?|amqps?)(?::|//)|(?!sqlite:)[a-z][a-z0-9+.-]*:/)", re.IGNORECASE
)
_AROUND: Final = "'\"`()<>,;."


def redact_url(url: str) -> str:
    """Return a store's URL for messages; what may be a secret in it is "***".

    That is what stands before an "@" (except a user's name, where a password follows it), the secrets of the query, and
    everything without the form of a host, a path or an option.
    """
    if _FILE.match(url):
        return _PARAMETER.sub(_parameter, url)  # a path may hold any character
    found = _SCHEME.match(url)
    shown = ""
    if found is not None and (_KNOWN.match(found[1]) or len(found[2]) >= 2):
        shown, url = f"{found[1]}:{found[2]}", url[found.end() :]
    place, mark, query = url.partition("?")
    if "@" in query:
        # The "?" is a part of the password, or the "@" a part of an option: show no more than a host.
        is_option = _is_query(query)
        if "@" in place or (is_option and not shown.endswith("//")):  # which of the two it is, is not known
            return shown + MASK
        place, query = (place, MASK) if is_option else (url, "")
    before, at, place = place.rpartition("@")
    if at:
        user = _USER.fullmatch(before) if shown.endswith("//") else None
        shown += f"{user[1]}:{MASK}@" if user is not None else f"{MASK}@"
    if not query:
        place, mark, query = place.partition("?")
    if not _PLACE.match(place):
        return shown + MASK
    return shown + place + (_PARAMETER.sub(_parameter, f"?{query}") if _is_query(query) else mark and f"?{MASK}")


def mask_urls(text: str) -> str:
    """Return `text` with the secrets of each URL in it masked; a URL may hold spaces up to the last "@" of its line."""
    starts = _starts(text)
    if not starts:
        return text
    parts = [text[: starts[0]]]
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        part = text[start:end]
        line = part.partition("\n")[0]
        at = line.rfind("@") + 1
        length = at + len(line[at:].split(" ", 1)[0]) if at else len(line.split(None, 1)[0])
        url = part[:length].rstrip(_AROUND)
        parts += [redact_url(url), part[len(url) :]]
    return "".join(parts)


def _starts(text: str) -> list[int]:
    """Return where the URLs in a text begin.

    What looks like another scheme may be the end of a password: `redis://:secret://@host`.
    """
    starts: list[int] = []
    for each in _START.finditer(text):
        start = each.start()
        inside = bool(starts) and "\n" not in text[starts[-1] : start]
        if inside and not _KNOWN.match(each[0].rstrip(":/")) and "@" in text[start:].partition("\n")[0]:
            continue
        starts.append(start)
    return starts


def _is_query(text: str) -> bool:
    return all(
        name and mark and "@" not in name for name, mark, _ in (each.partition("=") for each in re.split("[&;]", text))
    )


def _parameter(found: re.Match[str]) -> str:
    hidden = _SECRET.search(found["name"]) or not _VALUE.match(found["value"])
    return found["name"] + (MASK if hidden else found["value"])
