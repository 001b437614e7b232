"""Writes the files for other tools into a folder; what a person has changed there stays."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from outlast.core.errors import ConfigurationError
from outlast.observe.rules import RULES, rules_text

__all__ = ["Written", "shipped", "texts", "write"]

_FOLDER: Final = "files"
_DASHBOARDS: Final = "grafana/"
_NOTES: Final = ".outlast-observe"
"""A file beside the written ones: their digests, by which a changed one is known."""


class Written(Struct, frozen=True):
    """What became of the files: names of those that were written, and of those that were there already."""

    written: list[str]
    unchanged: list[str]


def shipped() -> dict[str, str]:
    """Return the files of the package, by their names below the folder."""
    return dict(sorted(_below(files("outlast.observe") / _FOLDER, "")))


def _below(folder: Traversable, name: str) -> Iterator[tuple[str, str]]:
    for each in folder.iterdir():
        if each.is_dir():
            yield from _below(each, f"{name}{each.name}/")
        else:
            yield f"{name}{each.name}", each.read_text(encoding="utf-8")


def texts(grafana: str = "") -> dict[str, str]:
    """Return what to write. grafana: the URL of a Grafana that gets the dashboards: the alerts link to them there.

    The dashboards then have their names as uids, as a link needs one. Raise ConfigurationError for another text.
    """
    found = shipped()
    if grafana:
        found[RULES] = rules_text(_checked(grafana))
        for name in found:
            if name.startswith(_DASHBOARDS):
                board = {**json.loads(found[name]), "uid": Path(name).stem}
                found[name] = json.dumps(board, indent=1, sort_keys=True) + "\n"
    return found


def _checked(url: str) -> str:
    """Return the URL of a Grafana; a template of the rules reads it, so that braces would be a part of the template."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigurationError(f"--grafana {url!r}: {error}") from None
    known = (
        parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment or parts.password)
    )
    if not known or not url.isprintable() or set(url) & set('{}"\\ '):
        raise ConfigurationError(
            f"--grafana {url!r}: give its address as a browser has it, such as https://grafana.example.org"
        )
    return url


def write(folder: Path, found: Mapping[str, str], *, force: bool = False) -> Written:
    """Write files into a folder, which is made when it is missing. force: changed ones too.

    A file that was changed since it was written here, or that was not written here, is not overwritten: raise
    ConfigurationError with the names of such files, and write none. A new release replaces files that nothing has
    changed. Each file is replaced in one step.
    """
    try:
        noted = _noted(folder / _NOTES)
        there = {name: (folder / name).read_bytes() for name in found if (folder / name).exists()}
        new = {name: text.encode() for name, text in found.items()}
        changed = [name for name, data in there.items() if data != new[name] and _digest(data) != noted.get(name)]
        if changed and not force:
            raise ConfigurationError(
                f"{folder} has files that were changed, or that Outlast has not written: {', '.join(changed)}; nothing "
                "was written: name another folder and compare, or overwrite them with --force"
            )
        written = [name for name, data in new.items() if there.get(name) != data]
        for name in written:
            _replace(folder / name, new[name])
        notes = json.dumps({name: _digest(data) for name, data in new.items()}, indent=1, sort_keys=True)
        _replace(folder / _NOTES, notes.encode() + b"\n")
    except OSError as error:
        raise ConfigurationError(f"{error.filename or folder}: {error.strerror or error}") from None
    return Written(written, [name for name in new if name not in written])


def _noted(file: Path) -> dict[str, str]:
    """Return the digests of what was written last; none when that is not known."""
    try:
        noted = json.loads(file.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}


def _digest(data: bytes) -> str:
    return sha256(data).hexdigest()


def _replace(file: Path, data: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        beside.write_bytes(data)
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)
