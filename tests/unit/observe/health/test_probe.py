"""What `outlast health` asks, what it makes of the answers, and the socket that gives them."""

from __future__ import annotations

import asyncio
import contextlib
import io
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pytest

from outlast.observe.health import local_socket, places, probe
from outlast.observe.health.local_socket import answering
from outlast.observe.health.probe import Asked, ask, main, parsed
from outlast.observe.health.views import HealthAnswer


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ([], Asked()),
        (["--ready"], Asked("ready")),
        (["--started", "--timeout", "2"], Asked("started", None, 2.0)),
        (["--socket=/x y", "--timeout=0.5"], Asked("live", "/x y", 0.5)),
    ],
)
def test_a_plain_line_is_read_here(words: list[str], asked: Asked) -> None:
    assert parsed(words) == asked


@pytest.mark.parametrize(
    "words",
    [
        *(["--help"], ["-h"], ["--timeout"], ["--timeout", "soon"], ["--timeout", "0"], ["--timeout=inf"]),
        *(["--socket"], ["--ready=1"], ["more"], ["--json"], [""]),
    ],
)
def test_another_line_is_left_to_the_parser_of_all_commands(words: list[str]) -> None:
    assert parsed(words) is None


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The only folder in which sockets are."""
    with TemporaryDirectory(prefix="oh-", dir="/tmp") as short:  # the name of a socket must be short
        found = Path(short) / "s"
        for module in (places, local_socket):
            monkeypatch.setattr(module, "folders", lambda: (str(found),))
        yield found


@pytest.fixture
async def service() -> SimpleNamespace:
    return SimpleNamespace(answer=HealthAnswer(True, "live", "1 worker: 1 consuming"), asked=[])


@pytest.fixture
async def path(folder: Path, service: SimpleNamespace) -> AsyncIterator[str]:
    def answers(question: str) -> HealthAnswer | None:
        service.asked.append(question)
        return service.answer if question in probe.QUESTIONS else None

    async with answering(answers) as found:
        assert found is not None
        yield found


async def asked(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    options = parsed(words)
    assert options is not None
    code = await asyncio.to_thread(main, options)
    out, err = capsys.readouterr()
    return code, out, err


async def test_the_supervisor_is_found_and_its_answer_is_the_exit_code(
    path: str, service: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await asked(capsys=capsys) == (0, "live: 1 worker: 1 consuming\n", "")
    service.answer = HealthAnswer(False, "frozen", "worker 7\nis frozen")
    code, out, err = await asked("--ready", capsys=capsys)
    assert (code, out) == (1, "")
    assert err.startswith("frozen: worker 7")
    assert err.count("\n") == 1
    assert service.asked == ["live", "ready"]


async def test_a_word_that_is_no_question_is_refused(path: str) -> None:
    assert await asyncio.to_thread(ask, path, "else", 5.0) == (False, "the question is none of live, ready, started")


async def test_a_line_without_end_is_not_read_for_ever(path: str, caplog: pytest.LogCaptureFixture) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"x" * 100_000)
    async with asyncio.timeout(30):
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
    writer.close()
    _, other = await asyncio.open_unix_connection(path)
    other.close()  # without a question
    assert (await asyncio.to_thread(ask, path, "live", 5.0))[0]
    assert caplog.messages == []


async def test_no_supervisor_is_no_health(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = await asked(capsys=capsys)
    assert (code, err) == (
        1,
        "outlast health: no supervisor of this user is running: start `outlast worker`, or name its socket with "
        "--socket\n",
    )
    assert (await asked("--socket", str(folder / "none"), capsys=capsys))[0] == 1


def left_behind(folder: Path, name: str) -> Path:
    """Make the socket of a supervisor that was killed."""
    path = folder / name
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    return path


async def test_the_socket_of_a_killed_supervisor_is_no_health_and_is_removed_by_the_next(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.mkdir(mode=0o700)
    left = left_behind(folder, places.name_of(1, "dead"))
    code, _, err = await asked(capsys=capsys)
    assert code == 1
    assert f"no supervisor listens on {left}" in err
    async with answering(lambda question: HealthAnswer(True, "live", "well")) as path:
        assert path is not None
        assert places.found_sockets() == [path]
        assert (await asked(capsys=capsys))[0] == 0
    assert places.found_sockets() == []


async def test_of_several_supervisors_each_has_to_be_well(
    path: str, service: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    async with answering(lambda question: HealthAnswer(False, "frozen", "worker 9")):
        code, out, err = await asked(capsys=capsys)
        assert (code, out) == (1, "")
        assert sorted(err.splitlines()) == ["frozen: worker 9", "live: 1 worker: 1 consuming"]
        assert (await asked("--socket", path, capsys=capsys))[0] == 0


async def test_a_supervisor_that_hangs_is_no_health(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as hangs:
        hangs.bind(str(folder / places.name_of(1, "ab")))
        hangs.listen()
        code, _, err = await asked("--timeout=0.05", capsys=capsys)
    assert (code, err) == (1, "the supervisor has not answered within 0.05 s\n")


async def test_an_answer_that_is_cut_is_no_health(folder: Path) -> None:
    folder.mkdir(mode=0o700)

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.close()

    path = str(folder / "x")
    async with await asyncio.start_unix_server(cut, path):
        found = await asyncio.to_thread(ask, path, "live", 5.0)
    assert found == (False, "the supervisor ended the connection without an answer")


async def test_a_path_can_be_given_and_is_taken_from_a_dead_one_only(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.mkdir(mode=0o700)
    place = folder / "given"
    left_behind(folder, "given")
    async with answering(lambda question: HealthAnswer(True, "live", "first"), str(place)) as first:
        assert first == str(place)
        async with answering(lambda question: HealthAnswer(True, "live", "second"), str(place)) as second:
            assert second is None
            assert "another supervisor listens there" in caplog.text
            assert (await asyncio.to_thread(ask, str(place), "live", 5.0))[1] == "live: first"
    assert not place.exists()


async def test_without_a_place_for_the_socket_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(local_socket, "folders", lambda: (f"{tmp_path}/file", f"{tmp_path}/no/where"))
    monkeypatch.setattr(local_socket, "found_sockets", list)
    async with answering(lambda question: None) as path:
        assert path is None
    (line,) = caplog.messages
    assert line.startswith("there is no socket for `outlast health`, which will fail; jobs run all the same: ")
    assert line.endswith("make one of these folders writable, or name a socket with --health-socket")


async def test_a_folder_whose_name_is_too_long_for_a_socket_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TemporaryDirectory(prefix="oh-", dir="/tmp") as short:
        monkeypatch.setattr(local_socket, "folders", lambda: (f"{tmp_path}/{'x' * 100}", f"{short}/own"))
        async with answering(lambda question: HealthAnswer(True, "live", "well")) as path:
            assert path is not None
            assert path.startswith(f"{short}/own/")


class Closed(io.StringIO):
    """A stream whose reader has gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("stream", [None, Closed()])
async def test_a_closed_stream_changes_no_answer(path: str, stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", stream)
    assert await asyncio.to_thread(main, Asked()) == 0
