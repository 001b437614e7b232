"""Which store a URL leads to, and which one follows from the URL of the jobs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from outlast import ConfigurationError, Outlast, Settings
from outlast.testing.clock import FakeClock
from outlast.toolkit.stores import connect_toolkit, share_a_server, toolkit_url


@pytest.mark.parametrize(
    ("jobs", "own", "found"),
    [
        ("sqlite:outlast.db", "", "sqlite:outlast-toolkit.db"),
        ("sqlite:///srv/my.jobs.sqlite3", "", "sqlite:///srv/my.jobs-toolkit.sqlite3"),
        ("sqlite:/srv/v1.2/jobs", "", "sqlite:/srv/v1.2/jobs-toolkit"),
        ("sqlite:jobs", "", "sqlite:jobs-toolkit"),
        ("redis://host/0?namespace=a", "", "redis://host/0?namespace=a"),
        ("memory:", "", "memory:"),
        ("amqp://host/v", "redis://host/1", "redis://host/1"),
        ("sqlite:outlast.db", "memory:", "memory:"),
    ],
)
def test_the_place_of_the_toolkit(jobs: str, own: str, found: str) -> None:
    assert toolkit_url(own, jobs) == found


@pytest.mark.parametrize(
    ("jobs", "own", "found"),
    [
        ("sqlite:outlast.db", "", "sqlite:/srv/app/outlast-toolkit.db"),
        ("memory:", "sqlite:data/kit.db", "sqlite:/srv/app/data/kit.db"),
        ("memory:", "sqlite:/var/kit.db", "sqlite:/var/kit.db"),
        ("memory:", "sqlite:///var/kit.db", "sqlite:///var/kit.db"),
        ("memory:", "redis://host", "redis://host"),
    ],
)
def test_a_relative_path_begins_where_the_settings_were_read(jobs: str, own: str, found: str) -> None:
    assert toolkit_url(own, jobs, folder="/srv/app") == found
    for wrong in ("sqlite:", "sqlite:dir/", "sqlite::memory:", "sqlite://host/x"):
        with pytest.raises(ConfigurationError, match="toolkit_url="):
            connect_toolkit(toolkit_url(wrong, jobs, folder="/srv/app"), FakeClock())


def test_all_loops_of_a_process_have_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock is taken on one loop and renewed on another, which may come after a change of the working directory."""
    folders = [tmp_path / name for name in ("read", "first", "second")]
    for each in folders:
        each.mkdir()
    monkeypatch.chdir(folders[0])
    shop = Outlast("shop", settings=Settings(url="memory:", toolkit_url="sqlite:kit.db", toolkit_timeout=60))
    assert shop.settings.toolkit_url == "sqlite:kit.db"
    for each in folders[1:]:
        monkeypatch.chdir(each)
        asyncio.run(shop._toolkit().check())
    assert [path.name for path in tmp_path.rglob("kit.db")] == ["kit.db"]
    assert (folders[0] / "kit.db").exists()


def test_rabbitmq_keeps_no_toolkit() -> None:
    with pytest.raises(ConfigurationError, match=r"OUTLAST_TOOLKIT_URL.*give 'sqlite:PATH'"):
        toolkit_url("", "amqps://host/v")


@pytest.mark.parametrize("url", ["http://user:canary@host", "canary", "", "amqp://user:canary@host", "rediscanary://x"])
def test_another_url_is_refused_without_its_secrets(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"toolkit_url=.*give 'sqlite:PATH'") as caught:
        connect_toolkit(url, FakeClock())
    assert "canary@" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        *("sqlite:", "sqlite://host/kit.db", "sqlite:dir/", "redis://user:canary@host/x"),
        *("memcached://user:canary@host", "memcached://host?password=canary", "memcached://"),
    ],
)
def test_a_wrong_address_names_the_setting(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"toolkit_url=.*OUTLAST_TOOLKIT_URL") as caught:
        connect_toolkit(url, FakeClock())
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(("name", "variable"), [("toolkit", "OUTLAST_TOOLKIT_URL"), ("amqp", "OUTLAST_AMQP_URL")])
def test_an_app_whose_variable_is_that_of_every_app_is_refused(name: str, variable: str) -> None:
    for spelled in (name, name.upper()):
        with pytest.raises(ConfigurationError, match=f"{variable} is a setting of every app: give another name"):
            Outlast(spelled)
    Outlast("shop-" + name)
    Outlast("_")  # it has no variables of its own


def test_the_addresses_that_the_code_leaves_out_come_from_the_environment() -> None:
    environ = {"OUTLAST_URL": "redis://jobs", "OUTLAST_TOOLKIT_URL": "redis://kit", "OUTLAST_AMQP_URL": "amqp://events"}
    found = Settings.load("shop", Settings(amqp_url="amqp://own"), environ=environ)
    assert (found.url, found.toolkit_url, found.amqp_url) == ("redis://jobs", "redis://kit", "amqp://own")
    alone = Settings.load("shop", Settings(url="memory:"), environ=environ)
    assert (alone.toolkit_url, alone.amqp_url) == ("", "")
    assert "canary" not in repr(Settings(toolkit_url="redis://user:canary@host"))


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("redis://a/0", "rediss://user:secret@a:6379/1?namespace=x", True),
        ("redis://a:6379", "redis://a:6380", False),
        ("redis+cluster://a,b", "redis+cluster://b,c", True),
        ("redis://a", "redis://b", False),
        ("sqlite:a.db", "sqlite:a.db", False),
        ("memory:", "redis://a", False),
        ("memcached://a:6379", "redis://a:6379", False),
    ],
)
def test_two_urls_share_a_server_whatever_their_database(one: str, other: str, shared: bool) -> None:
    assert share_a_server(one, other) is share_a_server(other, one) is shared
