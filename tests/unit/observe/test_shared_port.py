"""Whether other processes serve a port, as the kernel's files tell it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from outlast.observe.shared_port import several_serve

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
LISTENS, CONNECTED = "0A", "01"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """The files of a kernel without processes."""
    for folder in ("net", "self/net"):
        (tmp_path / folder).mkdir(parents=True)
        for name in ("tcp", "tcp6"):
            (tmp_path / folder / name).write_text(HEAD)
    return tmp_path


def sockets(proc: Path, *lines: tuple[int, str, int], name: str = "tcp") -> None:
    """Write sockets as (port, state, inode)."""
    host = "0100007F" if name == "tcp" else "0" * 32
    text = "".join(
        f"   {at}: {host}:{port:04X} {host}:0000 {state} 00:00 00:00 0     0        0 {inode} 1\n"
        for at, (port, state, inode) in enumerate(lines)
    )
    (proc / "self" / "net" / name).write_text(HEAD + text)


def process(proc: Path, pid: int, parent: int, inodes: Iterable[int], name: str = "python") -> None:
    (proc / str(pid) / "fd").mkdir(parents=True)
    (proc / str(pid) / "stat").write_text(f"{pid} ({name}) S {parent} {pid} {pid} 0 -1")
    (proc / str(pid) / "fd" / "0").symlink_to("/dev/null")
    for number, inode in enumerate(inodes, 3):
        (proc / str(pid) / "fd" / str(number)).symlink_to(f"socket:[{inode}]")


def told(proc: Path, environ: Mapping[str, str] | None = None) -> bool:
    return several_serve(8000, proc=proc, environ=environ or {})


def test_a_sibling_with_the_same_socket_serves_too(proc: Path) -> None:
    sockets(proc, (8000, LISTENS, 7))
    process(proc, 1_000_001, os.getppid(), [7], name="a) b (c")
    assert told(proc)


def test_a_sibling_with_a_socket_of_its_own_on_the_port_serves_too(proc: Path) -> None:
    sockets(proc, (8000, LISTENS, 7))
    sockets(proc, (8000, LISTENS, 8), name="tcp6")
    process(proc, 1_000_001, os.getppid(), [8])
    assert told(proc)


def test_others_do_not_count(proc: Path) -> None:
    sockets(proc, (8000, LISTENS, 7), (8001, LISTENS, 8), (8000, CONNECTED, 9))
    process(proc, os.getpid(), os.getppid(), [7])
    process(proc, os.getppid(), 1, [7])  # the parent keeps the socket open, and does not serve
    process(proc, 1_000_001, os.getppid(), [8, 9])
    process(proc, 1_000_002, os.getpid(), [7])
    (proc / "1000003").mkdir()  # one that has ended meanwhile
    assert not told(proc)


def test_a_port_on_which_nothing_listens(proc: Path) -> None:
    process(proc, 1_000_001, os.getppid(), [7])
    assert not told(proc)


@pytest.mark.parametrize(("workers", "several"), [("", False), ("1", False), ("4", True), ("many", False)])
def test_without_these_files_the_server_tells_how_many_it_runs(tmp_path: Path, workers: str, several: bool) -> None:
    assert told(tmp_path, {"WEB_CONCURRENCY": workers}) is several
