"""Settings: where each value comes from, and how a wrong one is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from outlast import ConfigurationError, Settings
from outlast.brokers.registry import connect
from outlast.clients.sqlite.file_url import sqlite_path
from outlast.core.policy import DEFAULTS
from outlast.testing import FakeClock


def load(environ: dict[str, str], directory: Path, given: Settings | None = None, app: str = "shop") -> Settings:
    return Settings.load(app, given, environ=environ, directory=directory)


def test_the_apps_own_variable_wins(tmp_path: Path) -> None:
    environ = {"OUTLAST_URL": "sqlite:all.db", "OUTLAST_SHOP_URL": "sqlite:shop.db"}
    assert load(environ, tmp_path).url == "sqlite:shop.db"
    assert load(environ, tmp_path, app="other").url == "sqlite:all.db"


def test_a_dash_in_a_name_is_an_underscore(tmp_path: Path) -> None:
    assert load({"OUTLAST_MY_SHOP_URL": "memory:"}, tmp_path, app="my-shop").url == "memory:"


def test_else_beside_the_nearest_project(tmp_path: Path) -> None:
    inside = tmp_path / "project" / "src" / "deep"
    inside.mkdir(parents=True)
    (tmp_path / "project" / "pyproject.toml").touch()
    assert load({}, inside).url == f"sqlite:{tmp_path}/project/outlast.db"


def test_else_in_the_directory_itself(tmp_path: Path) -> None:
    assert load({}, tmp_path).url == f"sqlite:{tmp_path}/outlast.db"


def test_every_field_by_variable(tmp_path: Path) -> None:
    found = load(
        {
            "OUTLAST_LEASE": "20s",
            "OUTLAST_SHOP_CONCURRENCY": "7",
            "OUTLAST_DRAIN_GRACE": "1.5",
            "OUTLAST_URL": "memory:",
        },
        tmp_path,
    )
    assert (found.lease, found.concurrency, found.drain_grace, found.threads) == (20, 7, 1.5, DEFAULTS.threads)


def test_what_is_given_is_not_overridden(tmp_path: Path) -> None:
    environ = {"OUTLAST_URL": "sqlite:x.db", "OUTLAST_LEASE": "99"}
    given = load(environ, tmp_path, Settings(lease=3))
    assert (given.url, given.lease) == ("sqlite:x.db", 3)
    assert load(environ, tmp_path, Settings(url="memory:")).url == "memory:"


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"OUTLAST_LEASE": "soon"}, "OUTLAST_LEASE='soon'"),
        ({"OUTLAST_LEASE": "0"}, "OUTLAST_LEASE='0': give more than 0 seconds"),
        ({"OUTLAST_MEASURE": "maybe"}, "OUTLAST_MEASURE='maybe': give True or False"),
        ({"OUTLAST_SHOP_SPOOL": "folder/"}, "OUTLAST_SHOP_SPOOL='folder/': give the path of a file"),
        ({"OUTLAST_LEASE": "-5"}, "OUTLAST_LEASE=-5"),
        ({"OUTLAST_LEASE": "nan"}, "OUTLAST_LEASE=nan"),
        ({"OUTLAST_THREADS": "none"}, "OUTLAST_THREADS='none': give a whole number"),
        ({"OUTLAST_THREADS": "5.0"}, "OUTLAST_THREADS='5.0': give a whole number"),
        ({"OUTLAST_LISTEN": "localhost"}, "OUTLAST_LISTEN='localhost': give an address such as '127.0.0.1:9464'"),
        ({"OUTLAST_LISTEN": "[::1]:70000"}, "give an address such as"),
        ({"OUTLAST_MAX_BODY": "1e3"}, "OUTLAST_MAX_BODY='1e3': give a whole number"),
        ({"OUTLAST_SHOP_THREADS": "0"}, "OUTLAST_SHOP_THREADS='0'"),
    ],
)
def test_a_wrong_variable_is_named(tmp_path: Path, environ: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        load(environ, tmp_path)


@pytest.mark.parametrize(
    "wrong", [{"url": 5}, {"threads": 1.5}, {"max_body": 0}, {"lease": -1}, {"enqueue_timeout": 0}]
)
def test_a_wrong_value_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        Settings(**wrong)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:jobs.db", "jobs.db"),
        ("sqlite:/srv/jobs.db", "/srv/jobs.db"),
        ("sqlite:///srv/jobs.db", "/srv/jobs.db"),
        ("sqlite:dir/jobs.db", "dir/jobs.db"),
    ],
)
def test_the_file_of_a_url(url: str, path: str) -> None:
    assert sqlite_path(url) == path


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:",
        "sqlite::memory:",
        "sqlite://host/x.db",
        "sqlite:dir/",
        "sqlite:a\udcff.db",
        "sqlite:a\0.db",
        "nats://x",
        "jobs.db",
        "",
    ],
)
def test_a_wrong_url(url: str) -> None:
    with pytest.raises(ConfigurationError, match="url="):
        connect(url, clock=FakeClock(), max_body=1)


def test_recycling_and_measuring_by_variable(tmp_path: Path) -> None:
    environ = {
        "OUTLAST_RECYCLE_JOBS": "0",
        "OUTLAST_RECYCLE_AGE": "12h",
        "OUTLAST_RECYCLE_MEMORY": "500000000",
        "OUTLAST_MEASURE": "Yes",
    }
    found = load(environ, tmp_path)
    assert (found.recycle_jobs, found.recycle_age, found.recycle_memory) == (0, 43_200, 500_000_000)
    assert found.measure is True
    for text, measure in {"off": False, "0": False, "FALSE": False, "1": True, "true": True, "on": True}.items():
        assert load({"OUTLAST_MEASURE": text}, tmp_path).measure is measure


@pytest.mark.parametrize(
    ("name", "text", "given", "words"),
    [
        ("MEASURE", "maybe", "yes", "give"),
        ("TRACES", "sometimes", True, "give 'auto', 'on' or 'off'"),
        ("RECYCLE_JOBS", "-1", -1, "give a whole number, 1 or more, or 0 for never"),
        ("RECYCLE_MEMORY", "1GB", 1.5, "give a whole number, 1 or more, or 0 for never"),
        ("RECYCLE_AGE", "never", -1, "RECYCLE_AGE|recycle_age"),
    ],
)
def test_what_they_cannot_be(name: str, text: str, given: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=words):
        load({f"OUTLAST_{name}": text}, tmp_path)
    with pytest.raises(ConfigurationError, match=words):
        Settings(**{name.lower(): given})


def test_a_spool_is_a_file(tmp_path: Path) -> None:
    found = load({"OUTLAST_SPOOL": "outbox.db", "OUTLAST_SHOP_SPOOL_LIMIT": "7"}, tmp_path)
    assert (found.spool, found.spool_limit) == ("outbox.db", 7)
    assert Settings(url="memory:").spool == ""
    for wrong in ("folder/", "sqlite:outbox.db", 7):
        with pytest.raises(ConfigurationError, match="spool="):
            Settings(spool=wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="spool_limit=0"):
        Settings(spool_limit=0)


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("OUTLAST_CONCURENCY", "concurrency"),
        ("OUTLAST_SHOP_LEESE", "lease"),
        ("OUTLAST_SHOP_DRAINGRACE", "drain_grace"),
        ("OUTLAST_ULR", "url"),
        ("OUTLAST_COLOUR", ""),
        ("OUTLAST_", ""),
    ],
)
def test_a_misspelt_variable_is_named_with_the_nearest_setting(variable: str, meant: str) -> None:
    told = Settings.mistaken_variables("shop", environ={variable: "7"})
    assert told == {variable: "no setting has this name" + (f"; the nearest is {meant}" if meant else "")}


def test_variables_that_are_in_order_are_not_named() -> None:
    environ = {
        "OUTLAST_LEASE": "7",  # SHOP_LEASE comes first
        "OUTLAST_SHOP_LEASE": "8",
        "OUTLAST_OTHER_LEASE": "9",
        "OUTLAST_SPOOL": "",
        "OUTLAST_APP": "main:shop",
        "OUTLAST_DEBUG": "1",
        "OUTLAST_PORT": "tcp://10.0.0.1:6379",  # Kubernetes sets these for a service named "outlast"
        "OUTLAST_PORT_6379_TCP_ADDR": "10.0.0.1",
        "OUTLAST_SERVICE_HOST": "10.0.0.1",
        "OUTLAST_REDIS_SERVICE_PORT_CLIENT": "6379",
        "SHOP_LEESE": "1",
    }
    assert Settings.mistaken_variables("shop", environ=environ) == {}
    replaced = Settings.mistaken_variables("shop", Settings(lease=3), environ={"OUTLAST_LEASE": "7"})
    assert "Settings(...)" in replaced["OUTLAST_LEASE"]


@pytest.mark.parametrize("empty", ["", " ", "\t\n "])
def test_an_empty_variable_sets_nothing_also_when_it_has_spaces(empty: str, tmp_path: Path) -> None:
    environ = {f"OUTLAST_{field.upper()}": empty for field in Settings.__struct_fields__}
    assert Settings.load("shop", environ=environ, directory=tmp_path) == Settings.load(
        "shop", environ={}, directory=tmp_path
    )
    assert set(Settings.origins("shop", environ=environ).values()) == {"default"}
    behind = environ | {"OUTLAST_SHOP_URL": empty, "OUTLAST_URL": " sqlite:a.db "}
    for argument in (None, Settings(lease=3)):
        assert Settings.load("shop", argument, environ=behind).url == "sqlite:a.db"
        assert Settings.origins("shop", argument, environ=behind)["url"] == "OUTLAST_URL"


def test_the_environment_names_the_servers_of_settings_that_name_none(tmp_path: Path) -> None:
    environ = {"OUTLAST_URL": "redis://a", "OUTLAST_SHOP_AMQP_URL": "amqp://b/"}
    found = Settings.load("shop", Settings(lease=3), environ=environ, directory=tmp_path)
    assert (found.url, found.amqp_url, found.lease) == ("redis://a", "amqp://b/", 3)
    assert Settings.origins("shop", Settings(lease=3), environ=environ)["amqp_url"] == "OUTLAST_SHOP_AMQP_URL"
    assert Settings.mistaken_variables("shop", Settings(lease=3), environ=environ) == {}
    assert Settings.load("shop", Settings(amqp_url="amqp://c/"), environ=environ).amqp_url == "amqp://c/"
    alone = Settings(url="memory:")
    assert Settings.load("shop", alone, environ=environ) == alone
    assert "OUTLAST_SHOP_AMQP_URL" in Settings.mistaken_variables("shop", alone, environ=environ)


def test_the_rabbitmq_of_a_bridge_has_a_variable_of_its_own(tmp_path: Path) -> None:
    url = "amqp://shop:secret@rabbit.internal/shop"
    assert load({"OUTLAST_AMQP_URL": "amqp://other/"}, tmp_path).amqp_url == "amqp://other/"
    found = load({"OUTLAST_AMQP_URL": "amqp://other/", "OUTLAST_SHOP_AMQP_URL": url}, tmp_path)
    assert (found.amqp_url, found.url[:7]) == (url, "sqlite:")
    assert "secret" not in repr(found)
    assert "shop:***@" in repr(found) or "@rabbit.internal" in repr(found)


def test_a_variable_of_rabbitmq_is_not_taken_for_one_of_the_store() -> None:
    environ = {"OUTLAST_AMQP_URL": "amqp://other/"}
    settings = Settings(url="memory:")
    assert "replaces the variables" in Settings.idle_variables("shop", settings, environ=environ)["OUTLAST_AMQP_URL"]


@pytest.mark.parametrize(
    ("words", "value"), [(("1", "true", "TRUE", "yes", "On"), True), (("0", "false", "False", "no", "OFF"), False)]
)
def test_a_switch_in_a_variable_takes_what_its_error_says(words: tuple[str, ...], value: bool, tmp_path: Path) -> None:
    for word in words:
        assert load({"OUTLAST_MEASURE": word}, tmp_path).measure is value
    for word in ("2", "01", "y"):
        with pytest.raises(ConfigurationError, match="a variable: 1 or 0"):
            load({"OUTLAST_MEASURE": word}, tmp_path)
