"""Make the pictures of docs/demo.md: run the demo and photograph its page during the outage and at the end.

`python docs/make_screenshots.py [CHROMIUM]`; it needs playwright (in the dev environment) and a Chromium.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).with_name("images")
FLAGS = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DURING = (
    "body:has(#provider[data-state=down]):has(#breaker[data-state=open]):has(#chart .probe) #toolkit[data-state=down]"
)
OVER = "#verdict:not([hidden])"


def photograph(page: Page, name: str, *, when: str) -> None:
    """Save the page as docs/images/<name> as soon as something in it matches the selector `when`."""
    page.wait_for_selector(when, state="attached", timeout=120_000)
    page.wait_for_timeout(600)  # let the bars come to rest
    page.screenshot(path=IMAGES / name)


def main(chromium: str) -> None:
    """Run the demo, take the pictures, end it."""
    command = [sys.executable, "-u", "-m", "outlast.demo", "--stay"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo, sync_playwright() as play:
        try:
            assert demo.stdout is not None
            url = next(found[0] for line in demo.stdout if (found := re.search(r"http://\S+", line)))
            browser = play.chromium.launch(executable_path=chromium, args=FLAGS)
            light = browser.new_page(viewport={"width": 1280, "height": 960}, color_scheme="light")
            dark = browser.new_page(viewport={"width": 1280, "height": 880}, color_scheme="dark")
            light.goto(url)
            dark.goto(url)
            photograph(dark, "demo-outage.png", when=DURING)
            photograph(light, "demo.png", when=OVER)
            browser.close()
        finally:
            demo.send_signal(signal.SIGINT)
            rest, _ = demo.communicate()
    if kept := re.search(r"files of this run: (\S+)", rest):
        shutil.rmtree(kept[1])
    if demo.returncode != 0:
        raise SystemExit(f"the demo ended with {demo.returncode}")


if __name__ == "__main__":
    found = sys.argv[1] if len(sys.argv) > 1 else shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        raise SystemExit("no Chromium found: give its path as the argument")
    IMAGES.mkdir(exist_ok=True)
    main(found)
