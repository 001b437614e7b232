"""Who may import whom, and what comes in when."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("pydantic", "pydantic_settings", "apsw", "typer", "rich", "fastapi", "starlette", "uvicorn")


def python(code: str) -> str:
    """Run code in a fresh interpreter and return what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_layers_and_the_vendors_folders_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_importing_outlast_is_light() -> None:
    assert python(f"import sys, outlast; print([name for name in {HEAVY} if name in sys.modules])") == "[]"


DECLARE = """
from outlast import Context, JobRouter, Outlast, Retry

shop = Outlast("shop")

@shop.job(queue="mail", timeout=30, retry=Retry(attempts=5))
async def send(ctx: Context, order_id: int, email: str) -> None: ...

@shop.job(queue="pdf")
def render(order_id: int) -> str: ...

jobs = JobRouter(queue="mail")

@jobs.job()
async def remind(email: str = "a@b.c") -> None: ...

shop.include(jobs)
shop.queue("mail", max_depth=10)
"""


def test_declaring_is_light() -> None:
    assert python(f"import sys\n{DECLARE}\nprint([name for name in {HEAVY} if name in sys.modules])") == "[]"


WATCH = """
import sys
seen = []

def watch(event, args):
    if event == "open" and not str(args[0]).endswith((".py", ".pyc", ".so")):
        seen.append((event, str(args[0])))
    elif event.partition(".")[0] in ("socket", "sqlite3", "subprocess", "shutil", "ftplib", "urllib"):
        seen.append((event, ""))
    elif event in ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.fork", "os.system", "os.exec"):
        seen.append((event, str(args)))
"""


def test_declaring_does_no_io() -> None:
    declare = DECLARE.strip().replace('"""', "'''")
    run = f'exec(compile("""{declare}""", "shop.py", "exec"))'
    code = f"{WATCH}\nimport outlast\nsys.addaudithook(watch)\n{run}\nprint(seen)"
    assert python(code) == "[]"


@pytest.mark.parametrize("action", ["open('outlast.db')", "__import__('socket').socket()"])
def test_the_watch_sees_io(action: str) -> None:
    code = f"{WATCH}\nsys.addaudithook(watch)\ntry:\n    {action}\nexcept OSError:\n    pass\nprint(len(seen))"
    assert python(code) == "1"
