"""Signals from the first moment of a process, and what its forks do not inherit: in processes of their own."""

from __future__ import annotations

import signal
import subprocess
import sys
from textwrap import dedent

import pytest

HEAD = """
import asyncio, os, signal, sys, threading
from outlast.aio.signals import *

def in_fork(check):
    # Return what `check` returns in a fork: its exit code.
    child = os.fork()
    if child == 0:
        os._exit(check())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""


def ran(text: str) -> subprocess.CompletedProcess[str]:
    """Run a program."""
    command = [sys.executable, "-W", "error", "-c", HEAD + dedent(text)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def said(text: str) -> str:
    """Run a program that has to end well; return what it printed."""
    done = ran(text)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_fork_has_the_handlers_of_before_and_no_wake_up_descriptor() -> None:
    assert said("""
        mine = lambda *_: None
        signal.signal(signal.SIGHUP, mine)
        ignore_stops()
        ignore_stops()  # once more, as after an import
        read, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write)

        def check():
            handlers = [signal.getsignal(each) for each in STOPS]
            return handlers == [signal.SIG_DFL, signal.default_int_handler, mine] and signal.set_wakeup_fd(-1) == -1

        print(in_fork(check), in_fork(lambda: in_fork(check)), signal.set_wakeup_fd(-1) == write)
        for each in STOPS:
            os.kill(os.getpid(), each)
        print("lives")
    """).split() == ["1", "1", "True", "lives"]


def test_a_handler_that_was_set_since_stays_in_the_fork() -> None:
    assert (
        said("""
        ignore_stops()
        mine = lambda *_: None
        signal.signal(signal.SIGTERM, mine)
        print(in_fork(lambda: signal.getsignal(signal.SIGTERM) is mine))
    """)
        == "1"
    )


def test_a_signal_that_comes_before_the_fork_has_its_own_handlers_ends_it() -> None:
    """The fork is told right after it exists, and runs the calls after a fork later."""
    assert said("""
        read, write = os.pipe()
        # Called in the fork before what is registered later, and so before its handlers are its own.
        os.register_at_fork(after_in_child=lambda: (os.kill(os.getpid(), signal.SIGTERM), os.write(write, b"x")))
        ignore_stops()
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.read(read, 1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        print(signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(STOPS))
    """).splitlines() == [str(-signal.SIGTERM), "set()"]


def test_a_fork_in_a_thread_has_handlers_of_its_own_too() -> None:
    assert (
        said("""
        ignore_stops()
        codes = []
        check = lambda: signal.getsignal(signal.SIGTERM) == signal.SIG_DFL and forked()
        thread = threading.Thread(target=lambda: codes.append(in_fork(check)))
        thread.start()
        thread.join()
        print(codes, forked())
    """)
        == "[1] False"
    )


def test_signals_that_were_blocked_at_the_start_are_not_blocked_any_more() -> None:
    assert (
        said("""
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        ignore_stops()
        print(signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(STOPS))
    """)
        == "set()"
    )


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("None", 0),
        ("SystemExit()", 0),
        ("SystemExit(7)", 7),
        ("SystemExit('why')", 1),
        ("SystemExit(-1)", 255),
        ("ValueError('why')", 1),
        ("KeyboardInterrupt()", 1),
    ],
)
def test_a_fork_that_returns_into_the_code_of_the_worker_ends_as_a_program_would(error: str, code: int) -> None:
    done = ran(f"ignore_stops(); print(in_fork(lambda: leave_fork({error})))")
    assert done.stdout.strip() == str(code)
    assert ("why" in done.stderr) == ("why" in error)


@pytest.mark.parametrize("hangup", [False, True])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_stop_before_the_begin_ends_the_process_with_0(name: str, hangup: bool) -> None:
    done = ran(f"exit_on_stop(hangup={hangup}); os.kill(os.getpid(), signal.{name}); print('lives'); sys.exit(5)")
    lives = name == "SIGHUP" and not hangup
    assert (done.returncode, done.stdout.strip()) == ((5, "lives") if lives else (0, ""))


def test_on_a_loop_signals_are_calls_and_before_and_after_it_they_are_what_they_were() -> None:
    assert (
        said("""
        ignore_stops()
        before, got = signal.getsignal(signal.SIGTERM), []

        async def work():
            with on_signals({signal.SIGTERM: lambda: got.append("term"), signal.SIGHUP: lambda: got.append("hup")}):
                for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                    os.kill(os.getpid(), number)
                    await asyncio.sleep(0.001)
            os.kill(os.getpid(), signal.SIGTERM)

        asyncio.run(work())
        os.kill(os.getpid(), signal.SIGTERM)
        print(got, signal.getsignal(signal.SIGTERM) is before)
    """)
        == "['term', 'hup'] True"
    )


@pytest.mark.parametrize("library", ["asyncio", "uvloop"])
def test_a_fork_after_the_end_of_a_loop_has_handlers_of_its_own_too(library: str) -> None:
    assert said(f"""
        import {library} as library
        from outlast.aio.loops import complete

        ignore_stops()
        loop = library.new_event_loop()
        complete(loop, asyncio.sleep(0))
        loop.close()

        def check():
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
            return signal.getsignal(signal.SIGTERM) == signal.SIG_DFL and not blocked

        print(in_fork(check))
    """).split() == ["1"]
