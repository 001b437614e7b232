"""What every place of objects is: bytes by key, in a folder, in memory or on an object store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import ClassVar

from msgspec import Struct

__all__ = ["Listed", "ObjectPlace", "Source", "StoredObject"]

Source = bytes | AsyncIterator[bytes]
"""What is put: all bytes at once, or as they come."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What was put: its key, its bytes and their SHA-256 in hex."""

    key: str
    size: int
    sha256: str


class Listed(Struct, frozen=True):
    """An object that is there. modified: when it was put, in seconds since 1970 by the clock of the place."""

    key: str
    size: int
    modified: float


class ObjectPlace(ABC):
    """A place of objects, for all event loops and threads of a process. Keys are checked, and not checked again here.

    Calls raise StoreError while it does not answer, ObjectNotFound where they say so, nothing else. shown: its name for
    messages, without secrets. in_process: whether it is never away.
    """

    shown: str
    in_process: ClassVar[bool] = False

    @abstractmethod
    async def put(self, key: str, source: Source, content_type: str) -> None:
        """Keep the bytes under the key, in place of those that are there; all of them or none."""

    @abstractmethod
    async def get(self, key: str, most: int | None = None) -> bytes:
        """Return the bytes; raise ObjectNotFound, ObjectDamaged for more than `most`."""

    @abstractmethod
    def stream(self, key: str) -> AsyncIterator[bytes]:
        """Yield the bytes in parts; raise ObjectNotFound before the first."""

    @abstractmethod
    async def delete(self, key: str) -> None:
        """Delete the object; one that is not there too."""

    @abstractmethod
    async def look(self, key: str) -> Listed | None:
        """Return what is there, None if nothing is."""

    @abstractmethod
    def pages(self, prefix: str) -> AsyncIterator[list[Listed]]:
        """Yield the objects whose keys begin with `prefix`, which ends with "/", in pages of any order."""

    @abstractmethod
    async def url(self, key: str, seconds: float) -> str:
        """Return a link that anybody can read the object by until then; raise ConfigurationError where none is made."""

    async def tidy(self) -> None:
        """Remove what puts that were cut off have left behind, where the place does not do that itself."""
        return
