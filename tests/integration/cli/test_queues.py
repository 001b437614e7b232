"""`outlast queues`, `backup`, `config`, `version` and what holds for every command: terminals, help, completion."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from outlast import __version__
from tests.support.apps.cli_app import Seeded
from tests.support.command import Project


def test_queues_as_a_table(project: Project, seeded: Seeded) -> None:
    ran = project.run("queues")
    assert (ran.code, ran.err) == (0, "")
    head, mail, slow, small = (line.split() for line in ran.out.splitlines())
    assert " ".join(head) == "queue depth ready scheduled running parked dead oldest drained empty workers"
    assert mail[:7] == ["mail", "0", "0", "0", "0", "0", "1"]
    assert slow[:7] == ["slow", "2", "1", "1", "0", "0", "0"]
    assert slow[-1] == "nobody"
    assert small[:3] == ["small", "1/1", "1"]
    assert small[-1] == "full"


def test_queues_as_json(project: Project, seeded: Seeded) -> None:
    ran = project.run("queues", "list", "slow", "--json")
    (queue,) = ran.json["queues"]
    assert set(queue) == {
        "name", "depth", "ready", "scheduled", "running", "parked", "dead", "oldest", "drain_rate", "paused",
        "consumers", "max_depth", "bytes", "max_bytes", "shed", "keys", "keys_held", "held", "limits", "changed",
        "successors", "needs", "forecast", "permits", "waits_for",
    }  # fmt: skip
    assert (queue["name"], queue["depth"], queue["paused"], queue["max_depth"]) == ("slow", 2, False, None)
    missing = project.run("queues", "list", "slow", "nosuch")
    assert missing.code == 6
    assert missing.err == f"outlast: no queue 'nosuch' in {project.file}\n"


def test_limits_are_set_shown_and_taken_back(project: Project, seeded: Seeded) -> None:
    ran = project.run("queues", "set", "slow", "--concurrency", "5", "--per-key-rate", "10/s", "--weight", "gold=3")
    first, note = ran.out.splitlines()
    assert first == "slow  concurrency=5* per_key.rate=10/s* weights.gold=3*"
    assert "--reset" in note
    head, *rows = project.run("queues").out.splitlines()
    assert head.split()[-1] == "limits"
    assert any("concurrency=5* per_key.rate=10/s* weights.gold=3*" in row for row in rows)
    ran = project.run("queues", "set", "slow", "--no-limit", "concurrency", "--reset", "weight=gold", "--json")
    assert ran.json == {
        "name": "slow", "limits": {"per_key.rate": "10/s"}, "changed": ["concurrency", "per_key.rate"],
    }  # fmt: skip
    assert project.run("queues", "set", "slow", "--reset", "all").out == "slow  -\n"


def test_limits_that_are_none(project: Project, seeded: Seeded) -> None:
    ran = project.run("queues", "set", "nosuch", "--rate", "1/s")
    assert (ran.code, ran.err) == (6, "outlast: nosuch: no queue of this name\n")
    for options, said in (
        (("--rate", "fast"), "give a rate such as"),
        (("--concurrency", "0"), "1 or more"),
        (("--weight", "gold"), "--weight gold=3"),
        ((), "--concurrency 5"),
    ):
        ran = project.run("queues", "set", "slow", *options)
        assert ran.code == 2, ran
        assert said in ran.err


def test_pause_and_resume(project: Project, seeded: Seeded) -> None:
    assert project.run("queues", "pause", "slow").out == "slow paused\n"
    assert project.run("queues", "pause", "slow").out == "slow is paused already\n"
    assert project.run("queues", "list", "slow", "--json").json["queues"][0]["paused"] is True
    assert "paused" in project.run("queues").out
    partly = project.run("queues", "resume", "slow", "nosuch")
    assert (partly.code, partly.out, partly.err) == (6, "slow resumed\n", "outlast: nosuch: no queue of this name\n")
    answers = project.run("queues", "resume", "slow", "--json").json["answers"]
    assert answers == [{"id": "slow", "ok": True, "changed": 0, "why": ""}]


def test_backup_is_a_store_of_its_own(project: Project, seeded: Seeded) -> None:
    ran = project.run("backup", "copy.db", "--json")
    copy = project.folder / "copy.db"
    assert (ran.json["target"], ran.json["bytes"]) == (str(copy), copy.stat().st_size)
    jobs = project.run("jobs", "--json", "--url", "sqlite:copy.db").json["jobs"]
    assert {job["id"] for job in jobs} == set(vars(seeded).values())
    again = project.run("backup", "copy.db")
    assert (again.code, again.err) == (2, "outlast: copy.db exists: name a new file, a backup never overwrites\n")
    assert project.run("backup", ".").code == 2
    assert project.run("backup", "nosuch/copy.db").code == 3
    assert "is copied to" in project.run("backup", "second.db").out


def test_config_tells_where_each_setting_came_from(project: Project) -> None:
    env = {"OUTLAST_SHOP_LEASE": "20s", "OUTLAST_THREADS": "3"}
    shown = project.run("config", "show", "--json", "--app", "main:shop", env=env).json
    assert (shown["app"], shown["store"], shown["exists"]) == ("shop", str(project.file), False)
    assert shown["why"] == "the default, beside pyproject.toml"
    settings = {each["name"]: (each["value"], each["from"]) for each in shown["settings"]}
    assert settings["lease"] == (20.0, "OUTLAST_SHOP_LEASE")
    assert settings["threads"] == (3, "OUTLAST_THREADS")
    assert settings["concurrency"] == (100, "default")
    table = project.run("config", env={"OUTLAST_URL": "sqlite:elsewhere.db"})
    assert f"store  {project.folder / 'elsewhere.db'} (OUTLAST_URL, not created yet)" in table.out
    assert not project.file.exists()


def test_config_of_an_app_with_settings_of_its_own(project: Project) -> None:
    project.write(
        "own.py",
        "from outlast import Outlast, Settings\nown = Outlast('own', settings=Settings(url='sqlite:own.db'))\n",
    )
    shown = project.run("config", "--json", "--app", "own:own", env={"OUTLAST_LEASE": "99"}).json
    assert {each["from"] for each in shown["settings"]} == {"argument"}
    assert shown["store"] == str(project.folder / "own.db")
    assert shown["why"] == "Settings(url=...) of own:own"


def test_no_password_is_shown(project: Project) -> None:
    unknown = "url: an option is unknown"
    for scheme, ends in {
        "nats": {
            "queues": (2, "***@host/0?token=***"),
            "config": (2, "***@host/0?token=***"),
            "doctor": (2, "***@host"),
        },
        "redis": {"queues": (2, unknown), "config": (0, "***@host/0?token=***"), "doctor": (1, unknown)},
    }.items():
        for name, (code, told) in ends.items():
            arguments = (name, "show") if name == "config" else (name,)
            ran = project.run(*arguments, env={"OUTLAST_URL": f"{scheme}://user:hunter2@host/0?token=abc"})
            assert ran.code == code
            assert told in ran.out + ran.err
            assert "hunter2" not in ran.out + ran.err
            assert "abc" not in ran.out + ran.err


def test_on_a_terminal_the_tables_are_coloured_unless_told_not_to(project: Project, seeded: Seeded) -> None:
    coloured = project.run_on_terminal("dead", columns=120)
    assert "\x1b[" in coloured.out
    assert seeded.dead in coloured.out
    plain = project.run_on_terminal("dead", columns=120, env={"NO_COLOR": "1"})
    assert "\x1b[3" not in plain.out
    assert seeded.dead in plain.out


def test_a_narrow_terminal_cuts_no_id(project: Project, seeded: Seeded) -> None:
    for name in ("jobs", "dead", "queues"):
        shown = project.run_on_terminal(name, columns=60, env={"NO_COLOR": "1"}).out
        assert name != "jobs" or all(id in shown for id in vars(seeded).values())
        assert name != "dead" or seeded.dead in shown
        assert name != "queues" or "nobody" in shown
    shown = project.run_on_terminal("jobs", "show", seeded.dead, columns=60, env={"NO_COLOR": "1"}).out
    assert "\x1b[31m" not in shown
    assert f"{seeded.dead}\n" in shown


def test_looking_creates_nothing(project: Project) -> None:
    before = sorted(project.folder.iterdir())
    for arguments in (
        ("queues",), ("queues", "pause", "mail"), ("jobs",), ("jobs", "show", "a.b"), ("jobs", "cancel", "a.b"),
        ("jobs", "purge", "--key", "k", "--yes"), ("dead",), ("dead", "redrive", "--all"), ("backup", "x.db"),
    ):  # fmt: skip
        ran = project.run(*arguments)
        assert (ran.code, ran.out) == (3, ""), arguments
        assert ran.err.startswith(f"outlast: no store at {project.file} (the default, beside pyproject.toml): nothing")
        assert "--url sqlite:PATH" in ran.err
        assert len(ran.err.splitlines()) == 1
    assert sorted(project.folder.iterdir()) == before


def test_which_store_is_meant(project: Project, seeded: Seeded, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    assert project.run("queues", cwd=elsewhere).code == 3
    assert project.run("queues", "--url", project.url, cwd=elsewhere).code == 0
    assert project.run("--url", project.url, "queues", cwd=elsewhere).code == 0
    assert project.run("queues", env={"OUTLAST_URL": project.url}, cwd=elsewhere).code == 0
    forgotten = project.run("queues", env={"OUTLAST_SHOP_URL": project.url}, cwd=elsewhere)
    assert forgotten.code == 3
    assert "OUTLAST_SHOP_URL is only read with --app" in forgotten.err
    (elsewhere / "pyproject.toml").touch()
    by_app = {"OUTLAST_SHOP_URL": project.url, "OUTLAST_APP": "main:shop", "PYTHONPATH": ""}
    assert (
        project.run("queues", env={**by_app, "PYTHONPATH": f"{project.folder}:{Path.cwd()}"}, cwd=elsewhere).code == 0
    )
    inside = project.folder / "deep" / "down"
    inside.mkdir(parents=True)
    assert project.run("queues", cwd=inside).code == 0, "the nearest pyproject.toml above says where"


def test_files_that_are_no_store(project: Project) -> None:
    project.write("text.db", "this is no database, though it is long enough to be looked at as one\n" * 20)
    ran = project.run("queues", "--url", "sqlite:text.db")
    assert (ran.code, ran.out) == (3, "")
    assert "not an SQLite file" in ran.err
    assert not list(project.folder.glob("text.db-*"))
    project.write("empty.db", "")
    assert project.run("queues", "--url", "sqlite:empty.db").code == 3
    assert (project.folder / "empty.db").stat().st_size == 0
    memory = project.run("queues", "--url", "memory:")
    assert (memory.code, "use 'sqlite:PATH'" in memory.err) == (3, True)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("nosuch:shop", "no module 'nosuch' in "),
        ("main:nosuch", "module 'main' has no 'nosuch' (try main:shop)"),
        ("main", "give 'module:attribute', such as 'main:shop'"),
        ("main:jobs", "is a Jobs: name the Outlast(...) itself (try main:shop)"),
        ("broken:shop", "the import failed: ZeroDivisionError: division by zero"),
        ("wrong:shop", "the import failed: SyntaxError"),
        ("needs:shop", "the import failed: ModuleNotFoundError: No module named 'nosuch_dependency'"),
    ],
)
def test_a_target_that_does_not_import(project: Project, target: str, said: str) -> None:
    project.write("broken.py", "1 / 0\n")
    project.write("wrong.py", "import\n")
    project.write("needs.py", "import nosuch_dependency\n")
    ran = project.run("queues", "--app", target)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert len(ran.err.splitlines()) == 1
    if target == "broken:shop":
        assert f"{project.folder / 'broken.py'}:1" in ran.err
        for debug in (
            project.run("--debug", "queues", "--app", target),
            project.run("queues", "--app", target, env={"OUTLAST_DEBUG": "1"}),
        ):
            assert "Traceback" in debug.err
            assert debug.err.splitlines()[-1] == ran.err.strip()


def test_versions(project: Project) -> None:
    assert project.run("--version").out == f"outlast {__version__}\n"
    assert project.run("version").out.startswith(f"outlast {__version__} (Python 3.")
    assert set(project.run("version", "--json").json) == {"outlast", "python", "sqlite"}


def test_help_names_every_command_and_a_typo_is_refused(project: Project) -> None:
    ran = project.run("--help")
    assert ran.code == 0
    for name in ("dev", "worker", "queues", "jobs", "dead", "backup", "config", "doctor", "demo", "version"):
        assert f"  {name} " in ran.out
    assert "--reload / --no-reload" in project.run("dev", "-h").out
    typo = project.run("quues")
    assert (typo.code, "No such command 'quues'" in typo.err) == (2, True)
    assert project.run("queues", "--nope").code == 2
    assert project.run("jobs", "lst").code == 2


def test_the_shell_completes_commands_and_their_commands(project: Project) -> None:
    env = {"_OUTLAST_COMPLETE": "complete_bash", "COMP_CWORD": "1", "COMP_WORDS": "outlast d"}
    assert set(project.run(env=env).out.split()) == {"dev", "dead", "doctor", "demo"}
    env = {"_OUTLAST_COMPLETE": "complete_bash", "COMP_CWORD": "2", "COMP_WORDS": "outlast jobs "}
    assert "run-now" in project.run(env=env).out.split()


def test_looking_at_queues_imports_no_more_than_it_takes(project: Project, seeded: Seeded) -> None:
    program = (
        "import sys; from outlast.cli import main; code = main(['queues']); "
        "print(code, *sorted({'fastapi', 'uvicorn', 'rich', 'jinja2', 'pydantic_settings', 'outlast.app', "
        "'outlast.worker.worker', 'outlast.cli.jobs'} & set(sys.modules)))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=project.folder, capture_output=True, text=True, check=True
    )
    assert ended.stdout.splitlines()[-1] == "0"


def test_the_demo_without_its_extra_says_what_to_install(project: Project) -> None:
    program = (
        "import sys; sys.modules['reportlab'] = None; from outlast.cli import main; sys.exit(main(['demo', '--stay']))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=project.folder, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("outlast: the demo needs reportlab")
    assert ended.stderr.endswith(": pip install 'outlast[demo]'\n")
    assert "--orders N" in project.run("demo", "--help").out


def test_a_store_is_readable_by_its_owner_alone(project: Project, seeded: Seeded) -> None:
    assert stat.S_IMODE(project.file.stat().st_mode) == 0o600
