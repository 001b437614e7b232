"""The demo's page in a real browser: it tells the whole story, asks nobody else, and its buttons work."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from urllib.parse import urlsplit

import httpx2
from playwright.sync_api import sync_playwright

FLAGS = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync"]


def test_the_page_shows_the_ledger_and_takes_more_orders() -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    assert chromium is not None, "install chromium (make test does)"
    command = [sys.executable, "-u", "-m", "outlast.demo", "--orders", "20", "--outage", "1", "--stay"]
    said: list[str] = []
    asked: set[str | None] = set()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as demo:
        assert demo.stdout is not None
        try:
            url = next(found[0] for line in demo.stdout if (found := re.search(r"http://\S+", line)))
            with sync_playwright() as play:
                browser = play.chromium.launch(executable_path=chromium, args=FLAGS)
                page = browser.new_page(viewport={"width": 390, "height": 844})
                page.on("request", lambda request: asked.add(urlsplit(request.url).hostname))
                page.on("pageerror", lambda error: said.append(str(error)))
                page.on("console", lambda message: said.append(message.text))
                page.goto(url)
                page.get_by_text("The ledger balances").first.wait_for(timeout=90_000)
                assert page.get_by_text("0 lost").is_visible()
                assert page.get_by_text("0 charged twice").is_visible()
                assert page.get_by_text("0 stale writes").is_visible()
                assert page.get_by_text("20 items sold").is_visible()
                assert page.get_by_text("toolkit up").is_visible()
                assert page.locator("#pieces li[data-whole=true]").count() == page.locator("#pieces li").count() > 3
                told = "order.*.paid: 20 events, 60 of 60 copies done, routed by the store"
                assert page.get_by_text(told).is_visible()
                assert page.evaluate("document.documentElement.scrollWidth") <= 390
                invoice = page.locator("#invoice").get_attribute("href")
                assert invoice is not None
                assert httpx2.get(invoice).content.startswith(b"%PDF-")
                page.get_by_role("button", name="Toolkit away").click()
                page.locator("#chart .away").nth(1).wait_for(state="attached", timeout=60_000)
                page.get_by_role("button", name="10 orders").click()
                for stage in ("invoiced", "mailed", "counted"):  # what Ctrl-C cuts off is lost in the last ledger
                    page.locator(f"li[data-stage={stage}] b", has_text=re.compile("^30$")).wait_for(timeout=60_000)
                browser.close()
        finally:
            demo.send_signal(signal.SIGINT)
            rest, _ = demo.communicate()
    if kept := re.search(r"files of this run: (\S+)", rest):
        shutil.rmtree(kept[1])
    assert demo.returncode == 0, rest
    assert "30" in rest
    assert said == []
    assert asked == {"127.0.0.1"}
