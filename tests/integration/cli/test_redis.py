"""The command line on a Redis server: the doctor, the lists, and what a server cannot do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.apps.cli_app import seed
from tests.support.command import Project
from tests.support.servers.redis_fleet import Node, cluster, free_port, node


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Node]:
    with node(tmp_path / "redis", appendonly="yes", appendfsync="always") as made:
        yield made


def test_jobs_queues_and_the_doctor(server: Node, tmp_path: Path) -> None:
    project = Project(tmp_path)
    env = {"OUTLAST_URL": server.url}
    seeded = seed(server.url)
    listed = project.run("jobs", "list", "--json", env=env)
    assert listed.code == 0, listed.err
    assert seeded.dead in listed.out
    assert project.run("dead", "redrive", seeded.dead, env=env).code == 0
    seed(f"{server.url}?namespace=other")
    doctor = project.run("doctor", "--json", env=env)
    found = {each["check"]: (each["severity"], each["text"]) for each in doctor.json["findings"]}
    assert found["durability"] == ("ok", "an accepted job survives: os-crash")
    assert found["single point"][0] == "warning"
    assert found["namespaces"] == ("ok", "this is outlast; on the same server: other")
    assert found["queue small"][0] == "error"  # it is full, and nobody works on it
    assert doctor.code == 1


def test_the_doctor_tells_of_a_toolkit_on_the_server_of_the_jobs(server: Node, tmp_path: Path) -> None:
    project = Project(tmp_path)
    seed(server.url)

    def toolkit(url: str) -> tuple[str, str]:
        doctor = project.run("doctor", "--json", env={"OUTLAST_URL": server.url, "OUTLAST_TOOLKIT_URL": url})
        (found,) = [each for each in doctor.json["findings"] if each["check"] == "toolkit"]
        return found["severity"], found["text"] + found["fix"]

    severity, text = toolkit(f"{server.url}?namespace=kit")
    assert severity == "warning"
    assert "is the server of the jobs" in text
    assert "set OUTLAST_TOOLKIT_URL to another Redis server" in text
    assert toolkit(f"sqlite:{tmp_path}/toolkit.db") == ("ok", f"{tmp_path}/toolkit.db: made at the first use")
    assert not (tmp_path / "toolkit.db").exists(), "the doctor changes nothing"
    severity, text = toolkit(f"redis://:secret@127.0.0.1:{free_port()}/0")
    assert severity == "error"
    assert "is away" in text
    assert "secret" not in text


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    project = Project(tmp_path)
    url = f"redis://:secret@127.0.0.1:{free_port()}/0"
    ran = project.run("jobs", "list", "--url", url)
    assert ran.code == 3
    assert "cannot be reached" in ran.err
    doctor = project.run("doctor", "--url", url)
    assert doctor.code == 1
    assert "cannot be reached" in doctor.out
    assert "secret" not in ran.err + doctor.out


def test_a_server_makes_its_own_backups(server: Node, tmp_path: Path) -> None:
    ran = Project(tmp_path).run("backup", "copy.db", "--url", server.url)
    assert ran.code == 2
    assert "redis-cli BGSAVE" in ran.err


@pytest.mark.parametrize("kind", ["a server", "a cluster"])
def test_what_waits_is_compared_with_what_is_declared(kind: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        if kind == "a server":
            url = stack.enter_context(node(tmp_path / "redis")).url
        else:
            nodes = stack.enter_context(cluster(tmp_path / "redis"))
            url = f"redis+cluster://127.0.0.1:{nodes[0].port}"
        seed(url)
        project = Project(tmp_path)
        project.write("later.py", "from outlast import Outlast\nshop = Outlast('shop')\n")
        doctor = project.run("doctor", "--json", "--url", url, "--app", "later:shop")
        found = {each["text"]: each["severity"] for each in doctor.json["findings"] if each["check"] == "declarations"}
        assert found == {
            "2 jobs of kind 'wait' in queue 'slow', and later:shop does not declare it": "error",
            "1 job of kind 'tiny' in queue 'small', and later:shop does not declare it": "error",
        }
