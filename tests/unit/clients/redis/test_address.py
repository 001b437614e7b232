"""What a Redis URL says, what it may not say, and what a server's answers mean."""

from __future__ import annotations

import pytest

from outlast.clients.redis.address import Address, Endpoint
from outlast.clients.redis.discovery import endpoint_in, slot_of
from outlast.clients.redis.error_replies import ErrorReply, meaning
from outlast.clients.redis.facts import Facts, durability_of, facts_of, fault_of, weakest
from outlast.core.errors import ConfigurationError, StoreError, StoreFull, StoreRefused, StoreUnavailable


@pytest.mark.parametrize(
    ("url", "shown", "told"),
    [
        ("redis://", "redis://127.0.0.1:6379/0", {}),
        ("redis://cache", "redis://cache:6379/0", {"kind": "single"}),
        ("redis://:p%40ss@cache:7/3", "redis://cache:7/3", {"user": "", "password": "p@ss", "db": 3}),
        ("rediss://ann:secret@cache/1?timeout=500ms", "rediss://cache:6379/1", {"user": "ann", "timeout": 0.5}),
        ("redis://[::1]:7/0?connect_timeout=3", "redis://[::1]:7/0", {"connect_timeout": 3.0}),
        ("redis+unix:///run/a@b.sock", "redis+unix:///run/a@b.sock", {}),
        ("redis+sentinel://a/m?sentinel_password=p@q", "redis+sentinel://a:26379/m/0", {"sentinel_password": "p@q"}),
        ("redis+unix:///run/redis.sock?db=2", "redis+unix:///run/redis.sock", {"db": 2}),
        ("redis://a?durability=replicated", "redis://a:6379/0", {"replicas": 1}),
        ("redis://a?durability=replicated&replicas=2", "redis://a:6379/0", {"replicas": 2}),
        ("redis://a?durability=replicated&fsync=yes", "redis://a:6379/0", {"replicas": 1, "fsync": True}),
        ("redis://a?fsync=no", "redis://a:6379/0", {"replicas": 0, "fsync": False}),
        ("redis://a?namespace=shop", "redis://a:6379/0", {"namespace": "shop"}),
        (
            "redis+sentinel://u:p@a,b:9/main/4?sentinel_user=s&sentinel_password=q",
            "redis+sentinel://a:26379,b:9/main/4",
            {"service": "main", "db": 4, "password": "p", "sentinel_user": "s", "sentinel_password": "q"},
        ),
        ("rediss+cluster://a,b:9", "rediss+cluster://a:6379,b:9/", {"kind": "cluster", "secure": True}),
    ],
)
def test_a_url_says_where_and_how(url: str, shown: str, told: dict[str, object]) -> None:
    address = Address.of(url)
    assert address.shown == shown
    assert {name: getattr(address, name) for name in told} == told


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("amqp://a", "the scheme is none of"),
        ("redis://a:port", "is no 'host:port'"),
        ("redis://a,b", "several hosts"),
        ("redis://[::1", "url: "),
        ("redis://:p[secret]s@a", "cannot be read"),
        ("redis://:secret\u2100@a", "cannot be read"),
        ("redis://:secret/b@a", "write / . # @ as %2F"),
        ("redis://u:12/secret@a", "write / . # @ as %2F"),
        ("redis://:secret#b@a/0", "write / . # @ as %2F"),
        ("redis://a/0#secret", "write / . # @ as %2F"),
        ("redis://:secret?b@a", "write / . # @ as %2F"),
        ("redis+sentinel://:secret/b@a,b/main", "write / . # @ as %2F"),
        ("redis://secret@a", "has no password"),
        ("redis://a/one", "must be a number"),
        ("redis://a/1/2", "is no database"),
        ("redis+unix://host/run/redis.sock", "takes a path and no host"),
        ("redis+sentinel://a", "name the master"),
        ("redis+cluster://a/1", "only database 0"),
        ("redis://a?tiemout=1", r"\?tiemout= is unknown; give one of namespace"),
        ("redis://a?timeout=0", "more than 0 seconds"),
        ("redis://a?timeout=soon", "timeout='soon'"),
        ("redis://a?namespace=a b", "namespace="),
        ("redis://a?durability=os-crash", "only 'replicated'"),
        ("redis://a?replicas=0", "1 or more"),
        ("redis://a?fsync=always", "give 'yes' or 'no'"),
        ("redis://a?fsync=yes", "is for '\\?durability=replicated'"),
        ("redis://a?sentinel_password=x", "for 'redis\\+sentinel://' only"),
        ("redis://a?ca=/etc/hosts", "need TLS"),
        ("rediss://a?ca=/nowhere", "no such file"),
        ("rediss://a?key=/etc/hosts", "needs \\?cert="),
        (f"rediss://a?ca=/{'a' * 5000}", "no such file"),
        ("redis://:secret\udcff@a", "bytes that are not UTF-8"),
        ("redis://a\udcff:1", "bytes that are not UTF-8"),
        ("redis://:secret%ff@a", "bytes that are not UTF-8"),
        ("redis://:secret%00@a", "a control character"),
        ("redis+unix:///run/%1b[31m", "a control character"),
    ],
)
def test_a_wrong_url_is_refused_with_the_fix(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as raised:
        Address.of(url)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("READONLY You can't write against a read only replica.", StoreUnavailable, "name the master"),
        ("ERR Error running script: @user_script:1: -READONLY You can't", StoreUnavailable, "name the master"),
        ("MASTERDOWN Link with MASTER is down", StoreUnavailable, "lost its master"),
        ("CLUSTERDOWN Hash slot not served", StoreUnavailable, "--cluster check"),
        ("ERR max number of clients reached", StoreUnavailable, "maxclients"),
        ("OOM command not allowed", StoreFull, "maxmemory"),
        ("ERR DB index is out of range", StoreError, "redis://a:1 has no database of this number"),
        ("MISCONF Errors writing to the AOF file: No space left on device", StoreFull, "cannot write to its disk"),
        ("NOPERM this user has no permissions", StoreError, "give it the ACL"),
        ("NOAUTH Authentication required.", StoreRefused, "requires a password"),
        ("TOOFULL of something", ErrorReply, "TOOFULL of something"),
    ],
)
def test_a_refusal_means_one_of_our_errors(text: str, kind: type[StoreError], said: str) -> None:
    error = meaning(ErrorReply(text), "redis://a:1")
    assert type(error) is kind
    assert said in str(error)


def test_a_server_that_tells_nothing_promises_nothing() -> None:
    silent = facts_of([ErrorReply("NOPERM")] * 7)
    assert silent == Facts()
    assert durability_of(silent, 0) == ("unknown", 0.0)


@pytest.mark.parametrize(
    ("facts", "fsync", "fault"),
    [
        (Facts(), True, ""),  # it tells nothing, and may do
        (Facts(version=(6, 2)), False, ""),
        (Facts(version=(6, 0, 16)), False, "is Redis 6.0.16, which is too old: upgrade it to Redis 6.2 or newer"),
        (Facts(version=(7, 0, 15), append_only=True), True, "is Redis 7.0.15, and ?fsync=yes needs 7.2"),
        (Facts(version=(7, 2, 1), append_only=True), True, ""),
        (Facts(version=(8, 1), valkey=True, append_only=False), False, ""),
        (Facts(version=(8, 1), valkey=True, append_only=False), True, "has appendonly no, and ?fsync=yes needs it"),
    ],
)
def test_a_server_that_cannot_do_what_is_asked(facts: Facts, fsync: bool, fault: str) -> None:
    found = fault_of(facts, fsync=fsync)
    assert found.startswith(fault)
    assert bool(found) == bool(fault)


def test_a_server_is_read_from_its_answers() -> None:
    facts = facts_of(
        [
            b"# Server\r\nredis_version:7.2.4\r\nvalkey_version:8.0.1\r\n",
            b"role:master\r\nslave0:ip=a,port=1,state=online,offset=1\r\nslave1:ip=b,port=1,state=wait_bgsave\r\n",
            b"maxmemory_policy:noeviction\r\nmaxmemory:0\r\nused_memory:77\r\n",
            b"aof_last_write_status:err\r\nrdb_last_bgsave_status:ok\r\n",
            [b"appendonly", b"yes"],
            [b"appendfsync", b"always"],
            ErrorReply("NOPERM"),
        ]
    )
    assert facts == Facts(
        version=(8, 0, 1),
        valkey=True,
        role="master",
        replicas=1,
        append_only=True,
        fsync="always",
        policy="noeviction",
        maxmemory=0,
        used_memory=77,
        write_error=True,
    )
    assert durability_of(facts, 0) == ("os-crash", 0.0)
    assert durability_of(facts, 1) == ("replicated", 0.0)


def test_a_cluster_is_as_safe_as_its_weakest_master() -> None:
    assert weakest([("os-crash", 0.0), ("process-crash", 2.0), ("process-crash", 30.0)]) == ("process-crash", 30.0)
    assert weakest([]) == ("unknown", 0.0)


def test_slots_are_those_of_the_specification() -> None:
    assert slot_of("123456789") == 12739
    assert slot_of("{user1000}.following") == slot_of("user1000") == slot_of("x{user1000}{y}")
    assert slot_of("foo{}{bar}") != slot_of("bar")


def test_a_redirection_without_a_host_means_another_port() -> None:
    assert endpoint_in(ErrorReply("MOVED 3999 127.0.0.1:6381"), Endpoint("a", 1)) == Endpoint("127.0.0.1", 6381)
    assert endpoint_in(ErrorReply("MOVED 3999 :6381"), Endpoint("a", 1)) == Endpoint("a", 6381)
