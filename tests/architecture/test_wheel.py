"""The wheel carries all that the code reads: what is missing there is missed by every user."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "outlast"


def test_every_file_of_the_package_is_in_the_wheel(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("outlast-*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    files = {
        f"outlast/{path.relative_to(PACKAGE).as_posix()}"
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files - packed == set()
    assert {"outlast/py.typed"} <= files
    assert any(name.endswith(".sql") for name in files)
    assert not [name for name in packed if name.startswith("tests/")]
