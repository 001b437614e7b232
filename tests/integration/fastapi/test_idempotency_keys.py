"""What is no Idempotency-Key, and wrong settings of them: each is refused with the fix."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from outlast import ConfigurationError, Outlast, Settings
from outlast.fastapi import Idempotency, install
from outlast.fastapi.idempotency.header import LONGEST_KEY, BadKey, key_in
from tests.support.asgi import Exchange
from tests.support.idempotent_api import KEY, Api, code_of, post


@pytest.fixture
def api() -> Api:
    return Api()


BAD = [
    "",
    '""',
    "abc",
    '"abc',
    'abc"',
    '"a" "b"',
    '"a", "b"',
    '"a\\b"',
    '"\xe9"',
    '"\t"',
    '"\x7f"',
    '"a";;',
    '"a"; =1',
    '"a";B=1',
    ":YWJj:",
    "?1",
    "12",
    f'"{"a" * (LONGEST_KEY + 1)}"',
    f'"{"a" * 65_536}"',
    '"a"' + ";a=1" * 10_000,
]


class TestHeader:
    """Keys that are none."""

    @pytest.mark.parametrize("key", BAD, ids=lambda key: ascii(key[:12]))
    async def test_a_bad_key_is_400_and_tells_what_to_send(self, api: Api, key: str) -> None:
        reply = await post(api, key=key)
        assert (reply.status, code_of(reply), api.runs) == (400, "invalid-idempotency-key", 0)
        assert b"in double quotes" in reply.body

    async def test_two_headers_are_400(self, api: Api) -> None:
        reply = await Exchange("POST", "/orders", [("Idempotency-Key", KEY)] * 2).serve(api.app)
        assert reply is not None
        assert (reply.status, code_of(reply)) == (400, "invalid-idempotency-key")

    @pytest.mark.parametrize(
        "key", ['"a"', ' "a" ', '"a";x', '"a";x=1;y="z";q=?0', r'"\"\\"', '"*?[]{}: "', f'"{"a" * LONGEST_KEY}"']
    )
    async def test_a_string_of_any_text_is_a_key(self, api: Api, key: str) -> None:
        assert [(await post(api, key=key)).status for _ in range(2)] == [201, 201]
        assert api.runs == 1

    async def test_bare_words_are_keys_where_the_app_says_so(self) -> None:
        api = Api(bare_keys=True)
        for key in ("8e03978e-40d5", '"8e03978e-40d5"'):
            assert (await post(api, key=key)).status == 201
        assert api.runs == 1
        assert (await post(api, key="a b")).status == 400

    @given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=LONGEST_KEY))
    def test_each_text_is_read_as_it_was_written(self, text: str) -> None:
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        assert key_in([(b"idempotency-key", f'"{quoted}"'.encode())], bare=False) == text

    @given(st.binary(max_size=300), st.booleans())
    def test_any_bytes_are_a_key_or_a_clear_error(self, value: bytes, bare: bool) -> None:
        with contextlib.suppress(BadKey):
            key = key_in([(b"idempotency-key", value)], bare=bare)
            assert key and key.isascii() and key.isprintable() and len(key) <= LONGEST_KEY


class TestSettings:
    """Wrong settings are refused where they are written."""

    @pytest.mark.parametrize(
        ("options", "named"),
        [
            ({"ttl": 0}, "ttl"),
            ({"ttl": -1}, "ttl"),
            ({"ttl": "24 hours"}, "ttl"),
            ({"ttl": "400d"}, "ttl"),
            ({"methods": "POST"}, "methods"),
            ({"methods": ["GET"]}, "methods"),
            ({"methods": []}, "methods"),
            ({"headers": ["Set-Cookie"]}, "must not be stored"),
            ({"headers": ["a b"]}, "no name of a header"),
            ({"headers": [1]}, "headers"),
            ({"principal": "user"}, "principal"),
            ({"stored": None}, "stored"),
            ({"max_request": 0}, "max_request"),
            ({"max_answer": True}, "max_answer"),
            ({"max_answer": 2**40}, "max_answer"),
        ],
    )
    def test_each_is_named(self, options: dict[str, Any], named: str) -> None:
        with pytest.raises(ConfigurationError, match=named):
            Idempotency(**options)

    def test_it_is_installed_once(self, api: Api) -> None:
        with pytest.raises(ConfigurationError, match="give idempotency= once"):
            install(api.app, Outlast("two", settings=Settings(url="memory:")), prefix="/two", idempotency=Idempotency())
        with pytest.raises(ConfigurationError, match="idempotency=True"):
            install(FastAPI(), api.shop, idempotency=True)  # type: ignore[arg-type]

    async def test_a_principal_that_is_no_text_is_told(self) -> None:
        api = Api(principal=lambda scope: 7)
        with pytest.raises(ConfigurationError, match="return text"):
            await post(api)

    async def test_cookies_without_a_principal_are_warned_of_once(
        self, api: Api, caplog: pytest.LogCaptureFixture
    ) -> None:
        for key in ('"1"', '"2"'):
            await post(api, key=key, Cookie="session=1")
        assert [each.message for each in caplog.records if "principal" in each.message] == [
            "a request with an Idempotency-Key has a cookie and no Authorization: it counts as anonymous, and all "
            "anonymous clients share their keys; give Idempotency(principal=...) the id of the user"
        ]
