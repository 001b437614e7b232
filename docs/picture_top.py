"""Make the picture of docs/observing.md: draw what `outlast top` shows of a store, and photograph it.

`python docs/picture_top.py URL [CHROMIUM]`; it needs playwright (in the dev environment) and a Chromium.
"""

from __future__ import annotations

import asyncio
import io
import shutil
import sys
from pathlib import Path
from time import time

from make_screenshots import FLAGS, IMAGES
from playwright.sync_api import sync_playwright
from rich.console import Console

from outlast.admin.overview import Overview, overview
from outlast.aio.clock import SystemClock
from outlast.brokers.registry import connect
from outlast.cli.output.top_view import Frame, view
from outlast.core.urls import redact_url


async def read(url: str) -> Overview:
    """Read the store."""
    store = connect(url, clock=SystemClock(), max_body=1 << 20)
    await store.broker.open()
    try:
        return await overview(store)
    finally:
        await store.broker.close()


def photograph(picture: str, target: Path, chromium: str) -> None:
    """Save an SVG as a PNG."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1500, "height": 900})
        page.set_content(f"<body style='margin:0'><style>svg {{ width: 1400px }}</style>{picture}</body>")
        page.locator("svg").screenshot(path=target)
        browser.close()


def main(url: str, chromium: str) -> None:
    """Draw, and photograph."""
    console = Console(file=io.StringIO(), record=True, width=140, height=30, highlight=False, force_terminal=True)
    frame = Frame(asyncio.run(read(url)), at=time(), shown=redact_url(url), every=2.0)
    console.print(view(frame, height=30, width=console.width))
    photograph(console.export_svg(title="outlast top"), IMAGES / "top.png", chromium)


if __name__ == "__main__":
    found = sys.argv[2] if len(sys.argv) > 2 else shutil.which("chromium") or shutil.which("google-chrome")
    if len(sys.argv) < 2 or found is None:
        raise SystemExit("give the URL of a store, and the path of a Chromium if none is found")
    main(sys.argv[1], found)
