"""The command line, `outlast`: parses arguments, calls the other packages and prints the results."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (the arguments of the process if None); return its exit code (core.exitcodes)."""
    command = _command(sys.argv[1:] if arguments is None else arguments)
    if command in ("worker", "dev"):
        # Before the other imports, which take half a second: a service may be stopped or reloaded as soon as it starts.
        from outlast.aio.signals import exit_on_stop

        exit_on_stop(hangup=command == "dev")
    if command == "health" and (code := _health(sys.argv[1:] if arguments is None else arguments)) is not None:
        return code
    from outlast.cli import streams

    streams.open_closed()
    from outlast.cli.root import run

    return streams.finish(run(arguments))


def _health(words: Sequence[str]) -> int | None:
    """Answer `outlast health` without the imports of the other commands; None where its line needs their parser."""
    from outlast.observe.health import probe

    asked = probe.parsed(words[1:]) if words[0] == "health" else None
    return None if asked is None else probe.main(asked)


def _command(words: Sequence[str]) -> str:
    """Return the first word that is neither an option nor the value of one, "" if there is none."""
    rest = iter(words)
    for word in rest:
        if word in ("--url", "--app"):
            next(rest, None)
        elif not word.startswith("-"):
            return word
    return ""
