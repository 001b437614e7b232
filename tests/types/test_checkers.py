"""mypy --strict and basedpyright see the public API as its users do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def run(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=110)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_mypy() -> None:
    files = [str(HERE / "accepted.py"), str(HERE / "refused.py")]
    assert run(sys.executable, "-m", "mypy", "--strict", "--warn-unused-ignores", *files) == ""


def test_basedpyright(tmp_path: Path) -> None:
    config = tmp_path / "pyrightconfig.json"
    settings = {
        "include": [str(HERE / "accepted.py"), str(HERE / "refused.py")],
        "extraPaths": [str(ROOT / "src")],
        "pythonVersion": "3.11",
        "typeCheckingMode": "strict",
        # The ignores of mypy are not this checker's, and one that is not needed means that an error went unseen.
        "enableTypeIgnoreComments": False,
        "reportUnnecessaryTypeIgnoreComment": "error",
        "reportUnusedExpression": "none",
        "reportUnusedFunction": "none",
        "reportUnknownMemberType": "none",
    }
    config.write_text(json.dumps(settings))
    command = (sys.executable, "-m", "basedpyright", "--project", str(config), "--pythonpath", sys.executable)
    assert run(*command) == ""
