"""Runs the Python blocks of one page, in order, in one namespace: `python run_page.py PAGE`, in an empty folder.

A block fenced as `python file=NAME` is written to NAME and imported; the others run as a script would, with `await`
allowed outside of functions.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import sys
from pathlib import Path

BLOCK = re.compile(r"^```python(?: file=(?P<file>\S+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def main(page: Path) -> None:
    """Run the page; an error says the block's own line in the page."""
    text = page.read_text(encoding="utf-8")
    sys.path.insert(0, "")
    namespace: dict[str, object] = {"__name__": "__main__"}
    with asyncio.Runner() as runner:
        for block in BLOCK.finditer(text):
            first = text.count("\n", 0, block.start("text"))
            name = block["file"]
            if name is not None:
                Path(name).write_text(block["text"], encoding="utf-8")
                __import__(Path(name).stem)
                continue
            code = compile("\n" * first + block["text"], str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            if code.co_flags & inspect.CO_COROUTINE:
                runner.run(_awaited(code, namespace))
            else:
                exec(code, namespace)


async def _awaited(code: object, namespace: dict[str, object]) -> None:
    await eval(code, namespace)  # type: ignore[arg-type]


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
