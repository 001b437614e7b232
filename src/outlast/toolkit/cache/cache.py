"""The cache of an app: values by key, read through one computation, and invalidated by key and by tag."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from functools import lru_cache
from secrets import token_hex
from typing import Any, Final, TypeVar

from msgspec import structs

from outlast.aio.portal import portal
from outlast.core.durations import Duration, seconds
from outlast.core.errors import ConfigurationError, InvalidArguments
from outlast.core.text import shown
from outlast.core.toolkit_errors import ToolkitAway
from outlast.toolkit.access import Toolkit
from outlast.toolkit.cache.callers_thread import CallersThread
from outlast.toolkit.cache.flights import AWAY, CacheRequest
from outlast.toolkit.cache.functions import CachedCall, CachedDecorator
from outlast.toolkit.cache.near import NO_COPY
from outlast.toolkit.cache.reading import CacheReading
from outlast.toolkit.cache.rule import CacheLimits, CacheRule, rng, rule_of, tag_list
from outlast.toolkit.cache.store import CacheDraft
from outlast.toolkit.cache.values import UnreadableBody, ValueForm, ValueForms, ValuePacking, form_of
from outlast.toolkit.caches_only import refuse_tags
from outlast.toolkit.keys import key_text
from outlast.toolkit.metrics import CacheReads

__all__ = ["Cache"]

T = TypeVar("T")

_SHORT: Final = 256
"""Characters of a text up to which its `key_text` is remembered: others may be of megabytes each."""
_short_text: Final = lru_cache(4096)(key_text)


def _key_text(key: str, what: str = "key") -> str:
    """Return `key_text` of a key. Values that are no text would raise in the memory of it, which hashes them."""
    return _short_text(key, what) if type(key) is str and len(key) <= _SHORT else key_text(key, what)


class Cache:
    """Values by key, on the store of the app's toolkit. `shop.cache` is one.

    Values have types: the `type=` of a call, or what a function says that it returns. They are kept as JSON, by
    pydantic or msgspec; what would not be read back equal raises InvalidArguments. Keys and tags are any text.

    While the store is away, reads miss and go to the source, at most `concurrency` at once in this process; `set` keeps
    nothing; `delete` and `invalidate` raise ToolkitAway, because an old value may remain. docs/toolkit/cache.md says
    what is promised.
    """

    def __init__(
        self,
        toolkit: Callable[[], Toolkit],
        forms: Callable[[], ValueForms],
        no_tags_on: Callable[[], str] = lambda: "",
    ) -> None:
        """no_tags_on: returns the store for messages, if it has no tags; "" otherwise."""
        # A function: a test replaces the toolkit that it returns.
        self._toolkit = toolkit
        self._no_tags_on = no_tags_on
        self._forms = forms
        self._gets, self._get_or_sets = CacheReads("get"), CacheReads("get_or_set")
        self._limits = CacheLimits()
        self._reading: CacheReading | None = None
        self._packings: dict[Any, ValuePacking] = {}

    def configure(
        self,
        *,
        max_value: int | None = None,
        max_bytes: int | None = None,
        compress_over: int | None = None,
        concurrency: int | None = None,
        max_wait: Duration | None = None,
        max_waiting: int | None = None,
    ) -> None:
        """Set bounds, before the first use. Raise ConfigurationError.

        max_value: bytes of one value (1 MiB); a larger one is not kept, and `set` refuses it. max_bytes: of all values
        in memory or in a file (64 MiB), over which the least recently used are removed; a server has `maxmemory`.
        compress_over: bytes of JSON from which a value is compressed (4096). concurrency: computations at once while
        the store is away (16); max_wait, max_waiting: how long and how many others wait for their turn (1 s, 1000).
        """
        if self._reading is not None:
            raise ConfigurationError("cache.configure: the cache is in use: call it before the first use")
        given = {
            "max_value": max_value,
            "max_bytes": max_bytes,
            "compress_over": compress_over,
            "concurrency": concurrency,
            "max_wait": None if max_wait is None else seconds(max_wait, "cache.configure(max_wait)"),
            "max_waiting": max_waiting,
        }
        self._limits = structs.replace(self._limits, **{name: each for name, each in given.items() if each is not None})

    # Values

    async def get(self, key: str, *, type: Any = Any, default: Any = None) -> Any:
        """Return the value of a key, `default` without a fresh one or while the store is away.

        A value that is not of `type` is as none.
        """
        text, packing = _key_text(key), self._packing(type, "cache.get")
        result = self._gets.miss
        try:
            entry = (await self._in_use().access.look(text)).entry
            if entry is not None and entry.left > 0:
                value = packing.unpacked(entry.body)
                result = self._gets.hit
                return value
        except ToolkitAway:
            AWAY["default"].add()
            result = self._gets.away
        except UnreadableBody:
            pass
        finally:
            result.add()
        return default

    async def set(
        self, key: str, value: Any, *, ttl: Duration, tags: Sequence[str] = (), type: Any = None, jitter: float = 0.1
    ) -> bool:
        """Keep a value for `ttl`, shorter by a random share up to `jitter`; return False while the store is away.

        What is being computed for this key is not kept. type: by default the class of the value where JSON has no form
        for it. Raise InvalidArguments for a value without a form, or of more than `max_value` bytes.
        """
        rule = rule_of(ttl=ttl, jitter=jitter, none_ttl=ttl)
        self.check_tags(tags)
        text, texts = _key_text(key), _tag_texts(tags)
        packing = self._packing(_type_of(value) if type is None else type, "cache.set")
        _, body = packing.packed(value)
        if body is None:
            raise packing.refuse_size()
        reading = self._in_use()
        fresh = rule.fresh(value, rng.random)
        assert fresh is not None, "none_ttl is given"
        try:
            await reading.access.put(text, CacheDraft(token_hex(8), body, fresh, fresh, 0.0, {}), texts)
        except ToolkitAway:
            AWAY["not-kept"].add()
            return False
        finally:
            reading.near.changed([text])
        return True

    async def get_many(self, keys: Iterable[str], *, type: Any = Any) -> dict[str, Any]:
        """Return the values of the keys that have a fresh one."""
        if isinstance(keys, str) or not isinstance(keys, Iterable):
            raise InvalidArguments(f"keys={shown(keys)}: give a list of texts")
        given, missing = list(keys), object()
        names = list({_key_text(key, "keys"): key for key in given}.values())
        found = await asyncio.gather(*(self.get(key, type=type, default=missing) for key in names))
        return {key: value for key, value in zip(names, found, strict=True) if value is not missing}

    async def set_many(
        self, values: Mapping[str, Any], *, ttl: Duration, tags: Sequence[str] = (), type: Any = None
    ) -> bool:
        """Keep several values, each as `set` does; return whether all are kept."""
        if not isinstance(values, Mapping):
            raise InvalidArguments(f"values={shown(values)}: give a dict of keys to values")
        kept = await asyncio.gather(
            *(self.set(key, value, ttl=ttl, tags=tags, type=type) for key, value in values.items())
        )
        return all(kept)

    async def delete(self, *keys: str) -> int:
        """Remove values; return how many there were. What is being computed for these keys is not kept.

        Raise ToolkitAway when the store does not answer: old values may remain until the end of their time.
        """
        reading, texts = self._in_use(), [_key_text(key) for key in keys]
        try:
            return sum(await asyncio.gather(*(reading.access.delete(text) for text in texts)))
        except ToolkitAway:
            AWAY["raised"].add()
            raise
        finally:  # before the server tells of it
            reading.near.changed(texts)

    async def invalidate(self, *tags: str) -> None:
        """Make all values with one of these tags dead, those that are being computed too, in one step for each tag.

        Raise ToolkitAway when the store does not answer: old values may remain until the end of their time.
        """
        self.check_tags(tags)
        texts = _tag_texts(tags)
        if texts:
            reading = self._in_use()
            try:
                await reading.access.invalidate(texts)
            except ToolkitAway:
                AWAY["raised"].add()
                raise
            finally:
                reading.near.tags_changed(texts)

    async def get_or_set(
        self,
        key: str,
        compute: Callable[[], Awaitable[T]],
        *,
        ttl: Duration,
        tags: Sequence[str] = (),
        type: Any = None,
        jitter: float = 0.1,
        stale: Duration = 0,
        stale_on_error: Duration = 0,
        none_ttl: Duration | None = None,
        early: float = 1.0,
        near: Duration = 0,
    ) -> T:
        """Return the value of a key, computed if there is none: once for all who ask meanwhile, in all processes.

        The options are those of `cached`. Raise what `compute` raises, and BulkheadFull while the store is away.
        """
        rule = rule_of(
            ttl=ttl,
            jitter=jitter,
            stale=stale,
            stale_on_error=stale_on_error,
            none_ttl=none_ttl,
            early=early,
            near=near,
        )
        _check_function(compute)
        self.check_tags(tags)
        packing = self._packing(self._forms().returned(compute) if type is None else type, "cache.get_or_set")
        text, reading = _key_text(key), self._in_use()
        if rule.near:
            found = reading.near.find(text)
            if found is not NO_COPY:
                self._get_or_sets.copies += 1
                copied: T = found
                return copied
        value: T = await reading.read(CacheRequest(text, _tag_texts(tags), rule, packing, compute, self._get_or_sets))
        return value

    # Functions

    def cached(
        self,
        *,
        ttl: Duration,
        key: str | None = None,
        tags: Sequence[str] = (),
        type: Any = None,
        jitter: float = 0.1,
        stale: Duration = 0,
        stale_on_error: Duration = 0,
        none_ttl: Duration | None = None,
        early: float = 1.0,
        near: Duration = 0,
    ) -> CachedDecorator:
        """Keep what a function returns, async or plain: `@shop.cache.cached(ttl="5m", key="product:{id}")`.

        ttl: how long a value is fresh, shorter by a random share up to `jitter`. key, tags: templates of the
        parameters; None: a key of all arguments. type: of the values, by default the return type of the function.
        stale: how long after that the old value is returned while one caller computes a new one in the background.
        stale_on_error: how long after it the old value is returned when the computation fails. none_ttl: how long None
        is kept; None: it is not. early: 0 for no early refresh; above 1 for an earlier one (see `is_early`).
        near: how long this process may use a copy of its own, of which a server tells when it changes; on other stores
        it has no effect.

        The function that is returned has `delete(...)`, which removes the value of these arguments, and `key(...)`.
        Raise ConfigurationError.
        """
        rule = rule_of(
            ttl=ttl,
            jitter=jitter,
            stale=stale,
            stale_on_error=stale_on_error,
            none_ttl=none_ttl,
            early=early,
            near=near,
        )
        self.check_tags(tags)
        return CachedDecorator(self, rule, key, tag_list(tags, ConfigurationError), type)

    def check_tags(self, tags: Sequence[str]) -> None:
        """Raise ConfigurationError for tags on a store that has none."""
        if tags and (shown := self._no_tags_on()):
            refuse_tags(shown)

    def copied(self, key: str) -> Any:
        """Return the value of the copy in this process, NO_COPY without one."""
        reading = self._reading
        if reading is None or reading.access.toolkit is not self._toolkit():
            return NO_COPY
        return reading.near.find(_key_text(key))

    def read_call(
        self, declared: CachedCall, key: str, tags: Sequence[str], compute: Callable[[], Awaitable[Any]]
    ) -> Coroutine[Any, Any, Any]:
        """Return the value of one call of a cached function."""
        packing = self._packings.get(declared)
        if packing is None:
            hint = self._forms().returned(declared.function) if declared.kind is None else declared.kind
            packing = self._packings[declared] = self._packing(hint, declared.name)
        return self._in_use().read(
            CacheRequest(_key_text(key), _tag_texts(tags), declared.rule, packing, compute, declared.reads)
        )

    async def read_answer(
        self,
        key: str,
        tags: Sequence[str],
        rule: CacheRule,
        form: ValueForm,
        compute: Callable[[], Awaitable[Any]],
        *,
        reads: CacheReads,
        keep: Callable[[Any], bool],
    ) -> Any:
        """Return what is kept or computed; a value that `keep` refuses goes to the caller that computed it alone."""
        limits = self._limits
        packing = ValuePacking(form, most=limits.max_value, compress_over=limits.compress_over, where="cache")
        return await self._in_use().read(
            CacheRequest(_key_text(key), _tag_texts(tags), rule, packing, compute, reads, keep=keep)
        )

    # From blocking code

    def get_sync(self, key: str, *, type: Any = Any, default: Any = None) -> Any:
        """Do as `get`, in blocking code."""
        return self.blocking(lambda: self.get(key, type=type, default=default))

    def set_sync(self, key: str, value: Any, *, ttl: Duration, tags: Sequence[str] = (), type: Any = None) -> bool:
        """Do as `set`, in blocking code."""
        return self.blocking(lambda: self.set(key, value, ttl=ttl, tags=tags, type=type))

    def delete_sync(self, *keys: str) -> int:
        """Do as `delete`, in blocking code."""
        return self.blocking(lambda: self.delete(*keys))

    def invalidate_sync(self, *tags: str) -> None:
        """Do as `invalidate`, in blocking code."""
        self.blocking(lambda: self.invalidate(*tags))

    def get_or_set_sync(self, key: str, compute: Callable[[], T], *, ttl: Duration, **options: Any) -> T:
        """Do as `get_or_set`, in blocking code; `compute` is a plain function, which is called in this thread."""
        _check_function(compute)
        options.setdefault("type", self._forms().returned(compute))
        thread = CallersThread(compute)
        return self.blocking(lambda: self.get_or_set(key, thread.compute, ttl=ttl, **options), thread)

    def blocking(self, work: Callable[[], Coroutine[Any, Any, T]], thread: CallersThread[T] | None = None) -> T:
        """Return what `work()` returns; raise WrongThread on a thread that runs an event loop.

        thread: that of the caller, where `work()` may compute.
        """

        async def kept() -> T:
            portal().at_stop(self._toolkit().close)
            return await work()

        return portal().run(kept) if thread is None else thread.wait(kept)

    def _in_use(self) -> CacheReading:
        toolkit = self._toolkit()
        reading = self._reading
        if reading is None or reading.access.toolkit is not toolkit:
            reading = self._reading = CacheReading(toolkit, self._limits)
        return reading

    def _packing(self, hint: Any, where: str) -> ValuePacking:
        try:
            found = self._packings.get((where, hint))
        except TypeError:  # marks of it cannot be hashed
            return self._packing_of(hint, where)
        if found is None:
            found = self._packings[where, hint] = self._packing_of(hint, where)
        return found

    def _packing_of(self, hint: Any, where: str) -> ValuePacking:
        limits = self._limits
        form = form_of(hint, self._forms())
        return ValuePacking(form, most=limits.max_value, compress_over=limits.compress_over, where=where)


def _check_function(compute: object) -> None:
    if not callable(compute):
        raise InvalidArguments(f"cache.get_or_set: compute={shown(compute)}: give a function without arguments")


def _tag_texts(tags: Sequence[str]) -> tuple[str, ...]:
    if tags == ():
        return ()
    return tuple(dict.fromkeys(_key_text(tag, "tags") for tag in tag_list(tags)))


def _type_of(value: object) -> Any:
    """Return the type by which a value without a declared one is kept: its class, where that is no plain data."""
    kind = type(value)
    return Any if kind.__module__ == "builtins" else kind
