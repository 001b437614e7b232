"""What the figures depend on: processors, kernel, file system, versions, and how long this disk takes to sync."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.produce import percentiles

__all__ = ["facts", "syncs"]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _file_system(folder: Path) -> str:
    """Return the type of the file system that holds `folder`."""
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, what, *_ = line.split()
        if len(where) >= len(best) and folder.resolve().is_relative_to(where):
            best, kind = where, what
    return kind


def facts(folder: Path, *, stores: Sequence[str]) -> dict[str, str]:
    """Return what tells machines apart, without any name."""
    import apsw

    from benchmarks import measure_rabbitmq, redis_server

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processors": f"{os.cpu_count()} x {_processor()}",
        "memory": f"{memory:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release().split('-')[0]}",
        "file system": _file_system(folder),
        "Python": platform.python_version(),
        "SQLite of Outlast and the floor": apsw.sqlite_lib_version(),
        "interpreter": sys.implementation.name,
        "load of other work": f"{os.getloadavg()[0]:.0f}",
        **({"redis-server": redis_server.facts()} if {"redis", "rabbitmq"} & set(stores) else {}),
        **({"rabbitmq-server": measure_rabbitmq.facts()} if "rabbitmq" in stores else {}),
    }


def syncs(folder: Path, count: int, rate: int) -> dict[str, float]:
    """Append 4 KiB and fdatasync, `count` times at `rate` a second; return the percentiles in milliseconds."""
    path = folder / "sync-probe"
    file = os.open(path, os.O_CREAT | os.O_RDWR)
    times: list[float] = []
    start = time.monotonic()
    for n in range(count):
        time.sleep(max(0.0, start + n / rate - time.monotonic()))
        os.pwrite(file, bytes(4096), n * 4096)
        began = time.perf_counter()
        os.fdatasync(file)
        times.append(time.perf_counter() - began)
    os.close(file)
    path.unlink()
    return percentiles(times)
