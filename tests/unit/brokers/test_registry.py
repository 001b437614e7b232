"""The kinds of stores by their URLs: what is shown of them, and what each says that tools may do."""

from __future__ import annotations

from pathlib import Path

import pytest

from outlast import ConfigurationError
from outlast.brokers.registry import embedded_url, kind_of
from outlast.core.errors import StoreCorrupt, StoreMissing


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("memory:", "memory:"),
        ("sqlite:/srv/jobs.db", "/srv/jobs.db"),
        ("redis://user:hunter2@host/0", "redis://user:***@host/0"),
        ("amqp://user:hunter2@a,b/shop", "amqp://user:***@a,b/shop"),
        ("rediss+sentinel://:hunter2@a,b/main", "rediss+sentinel://:***@a,b/main"),
    ],
)
def test_a_store_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert kind_of(url).shown(url) == shown


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nats://me:hunter2@host", "nats://me:***@host"),
        ("nats:hunter2", "***"),
        ("hunter2@host:6379", "***@host:6379"),
        ("me:hunter2@host", "***@host"),
        ("jobs.db", "jobs.db"),
    ],
)
def test_an_unknown_kind_is_refused_without_its_secrets(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        kind_of(url, "--url")
    known = "give 'sqlite:PATH', 'redis://HOST', 'amqp://HOST' or 'memory:'"
    assert str(error.value) == f"url {said!r} (--url): {known}"


@pytest.mark.parametrize(
    "url",
    [
        "nats://hunter2@host",
        "mysql://host/?pwd=hunter2",
        "https://hooks.example/hunter2",
    ],
)
def test_an_application_that_logs_the_error_logs_no_secret(url: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^url='{url.partition(':')[0]}:\.\.\.' \(Settings or OUTLAST_URL\)"):
        kind_of(url)


def test_only_a_memory_store_is_in_one_process_and_a_server_is_not_copied() -> None:
    kinds = [kind_of(url) for url in ("memory:", "sqlite:a.db", "redis://host", "amqp://host")]
    assert [each.in_process for each in kinds] == [True, False, False, False]
    assert [bool(each.no_backup) for each in kinds] == [False, False, True, True]


def test_one_store_has_one_identity(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    urls = [embedded_url(tmp_path / "jobs.db"), embedded_url(tmp_path / "link" / "jobs.db")]
    assert len({kind_of(url).identity(url) for url in urls}) == 1
    one, other = "redis://host", "redis://user:secret@host:6379/0?namespace=outlast"
    assert kind_of(one).identity(one) == kind_of(other).identity(other)


def test_a_look_makes_no_file(tmp_path: Path) -> None:
    file = tmp_path / "jobs.db"
    url = embedded_url(file)
    with pytest.raises(StoreMissing, match=r"no store at .*jobs\.db \(--url\).*: name another"):
        kind_of(url).check_present(url, why="--url", hint="name another")
    assert not file.exists()
    file.write_text("something else")
    with pytest.raises(StoreCorrupt, match="is not an SQLite file"):
        kind_of(url).check_present(url, why="--url", hint="")


def test_only_a_server_is_shared_by_isolated_stores() -> None:
    assert kind_of("redis://host").isolated_url("redis://host", "run-1") == "redis://host?namespace=run-1"
    with pytest.raises(ConfigurationError, match="leave namespace= out"):
        kind_of("redis://host").isolated_url("redis://host?namespace=mine", "run-1")
    with pytest.raises(ConfigurationError, match="give 'redis://HOST'"):
        kind_of("sqlite:a.db").isolated_url("sqlite:a.db", "run-1")
