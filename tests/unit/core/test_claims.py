"""References to the object store: read back as written, never taken for arguments or for those of another job."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Raw

from outlast.core.claims import CLAIMS, Claim, claim_in, claim_json, claim_key, job_of_key, stands_for_another

CLAIM = Claim("args-0123456789abcdef", 5, "a" * 64)
names = st.sampled_from(["args-0123456789abcdef", "result-fedcba9876543210"])
queues = st.text("abcXYZ019_-", min_size=1, max_size=100)
rests = st.text("abcXYZ019_-.:@+=/", min_size=1, max_size=300)


@given(name=names, size=st.integers(0, 2**53), digest=st.text("0123456789abcdef", min_size=64, max_size=64))
def test_a_reference_is_read_back(name: str, size: int, digest: str) -> None:
    claim = Claim(name, size, digest)
    assert claim_in(claim_json(claim)) == claim
    assert stands_for_another(claim_json(claim))


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1}',
        b'{"outlast:object":1}',
        b'{"outlast:object":{"name":"args-1","size":1,"sha256":"x"}}',
        b'{"outlast:object":{"name":"args-0123456789abcdef","size":-1,"sha256":"' + b"a" * 64 + b'"}}',
        bytes(claim_json(CLAIM))[:-1],
        bytes(claim_json(CLAIM))[:-1] + b',"more":1}',
        bytes(claim_json(CLAIM)) + b" " * 256,
        b'"outlast:object"\xff',
    ],
)
def test_what_is_no_reference_is_not_read_as_one(body: bytes) -> None:
    assert claim_in(Raw(body)) is None


@pytest.mark.parametrize(
    ("body", "stands"),
    [
        (b'{"outlast:object":1,"a":2}', True),
        (b'{"a":"outlast:object"}', False),
        (b'{"a":1}', False),
        (b'["outlast:object"]', False),
        (b'"outlast:object" and more', False),
    ],
)
def test_arguments_with_the_name_of_a_reference_are_told(body: bytes, stands: bool) -> None:
    assert stands_for_another(Raw(body)) is stands


@given(queue=queues, rest=rests, name=names)
@example("Mail_1", "A/../b", "args-0123456789abcdef")
@example("Mail_1", "..", "args-0123456789abcdef")
@example("Mail_1", "/" * 128, "args-0123456789abcdef")
def test_the_key_of_an_object_tells_its_job(queue: str, rest: str, name: str) -> None:
    job = f"{queue}.{rest}"
    key = claim_key(job, name)
    assert job_of_key(key) == job
    assert key.startswith(CLAIMS)
    assert key == key.lower()
    assert all(0 < len(segment) <= 255 and segment not in (".", "..") for segment in key.split("/"))


@given(one=st.tuples(queues, rests), other=st.tuples(queues, rests), name=names)
def test_two_jobs_have_no_key_in_common(one: tuple[str, str], other: tuple[str, str], name: str) -> None:
    keys = {claim_key(f"{queue}.{rest}", name).casefold() for queue, rest in (one, other)}
    assert len(keys) == len({one, other})


@pytest.mark.parametrize("key", ["report.pdf", f"{CLAIMS}q/1", f"{CLAIMS}q/1.args-", f"{CLAIMS}../1.args-0", ""])
def test_a_key_of_no_job_is_told(key: str) -> None:
    assert job_of_key(key) is None
