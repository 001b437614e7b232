"""The requests of the cache in the words of Memcached: its meta commands, built by meta_memcache_socket."""

from __future__ import annotations

from typing import Final

from meta_memcache_socket import SET_MODE_ADD, RequestFlags, build_meta_delete, build_meta_get, build_meta_set

__all__ = ["ANY_STATE", "add_request", "delete_request", "get_request", "set_request"]

ANY_STATE: Final = 0
"""No state of an item has this number."""
_GET: Final = RequestFlags(return_value=True, return_cas_token=True)
_DELETE: Final = RequestFlags()


def get_request(key: bytes) -> bytes:
    """Return the request for an item and the number of its state."""
    return bytes(build_meta_get(key, _GET))


def set_request(key: bytes, value: bytes, life: int, cas: int = ANY_STATE) -> bytes:
    """Return the request that stores an item, in place of the state `cas` only. life: as Memcached takes it."""
    flags = RequestFlags(cache_ttl=life, cas_token=None if cas == ANY_STATE else cas)
    return b"".join((build_meta_set(key, len(value), flags), value, b"\r\n"))


def add_request(key: bytes, value: bytes, life: int) -> bytes:
    """Return the request that stores an item where none is."""
    flags = RequestFlags(cache_ttl=life, mode=SET_MODE_ADD)
    return b"".join((build_meta_set(key, len(value), flags), value, b"\r\n"))


def delete_request(key: bytes, cas: int = ANY_STATE) -> bytes:
    """Return the request that removes an item, in the state `cas` only."""
    return bytes(build_meta_delete(key, _DELETE if cas == ANY_STATE else RequestFlags(cas_token=cas)))
