"""The numbers of a process, and the directory that tells what they are: in its own memory, or shared by a descriptor.

One process writes, others may read. The directory only grows; its length is written last, so that a writer that dies at
any point leaves a directory that can be read, and every number that was counted.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
import tempfile
from typing import Final

import msgspec
from msgspec import Struct

from outlast.meters.metric import MOST_EDGES, Metric, Reading, size_of

__all__ = ["Memory", "MemoryReader", "create_shared"]

_DIRECTORY: Final = 4 * 1024 * 1024
_NUMBERS: Final = 64 * 1024
"""Enough of both for a worker with 1,000 kinds of jobs: more of them are counted as `other`."""
_HEAD: Final = 64
_SIZE: Final = _HEAD + 8 * _NUMBERS + _DIRECTORY
"""Bytes; the system gives pages to what is used of them only."""
_USED: Final = struct.Struct("=Q")
_LENGTH: Final = struct.Struct("=I")
SINK: Final = MOST_EDGES + 2
"""The first numbers are those of series for which there is no room; they are not read."""


class _MetricEntry(Struct, frozen=True, array_like=True, tag="metric"):
    metric: Metric


class _SeriesEntry(Struct, frozen=True, array_like=True, tag="series"):
    metric: int
    labels: tuple[str, ...]
    edges: tuple[float, ...]
    at: int


_encode: Final = msgspec.json.Encoder().encode
_decoder: Final = msgspec.json.Decoder(_MetricEntry | _SeriesEntry)


def create_shared() -> int:
    """Return the descriptor of an empty memory that no other program can open by name."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("outlast-meters")
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, _SIZE)
    return fd


class Memory:
    """Room for numbers and for the directory; one process writes it.

    fd: of `create_shared`, empty; None for memory that no other process sees.
    """

    def __init__(self, fd: int | None = None) -> None:
        self._map = mmap.mmap(-1, _SIZE, flags=mmap.MAP_PRIVATE) if fd is None else mmap.mmap(fd, _SIZE)
        self.numbers: Final = memoryview(self._map)[_HEAD : _HEAD + 8 * _NUMBERS].cast("d")
        self._directory = memoryview(self._map)[_HEAD + 8 * _NUMBERS :]
        self._used = 0
        self._next = SINK
        self._metrics: dict[str, int] = {}

    def add_series(self, metric: Metric, labels: tuple[str, ...], edges: tuple[float, ...]) -> int:
        """Return where the numbers of a new series begin; 0, where none is, when there is no room for it."""
        at, size = self._next, size_of(metric, edges)
        if at + size > _NUMBERS:
            return 0
        if metric.name not in self._metrics:
            if not self._append(_encode(_MetricEntry(metric))):
                return 0
            self._metrics[metric.name] = len(self._metrics)
        self.numbers[at] = float("nan") if metric.kind == "gauge" else 0.0
        if not self._append(_encode(_SeriesEntry(self._metrics[metric.name], labels, edges, at))):
            return 0
        self._next += size
        return at

    def _append(self, entry: bytes) -> bool:
        end = self._used + _LENGTH.size + len(entry)
        if end > _DIRECTORY:
            return False
        _LENGTH.pack_into(self._directory, self._used, len(entry))
        self._directory[self._used + _LENGTH.size : end] = entry
        self._used = end
        _USED.pack_into(self._map, 0, end)
        return True


class MemoryReader:
    """Reads the shared memory of another process, which may be dead. The caller keeps the descriptor.

    broken: why the directory is not read any further, "" while it is: another release may have written it. Series that
    were found before are still read.
    """

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, _SIZE, prot=mmap.PROT_READ)
        self._at = 0
        self._metrics: list[Metric] = []
        self._series: list[_SeriesEntry] = []
        self.broken = ""

    def read(self) -> list[Reading]:
        """Return the values of all series, but of gauges without a value.

        The numbers of one histogram may be of two moments, some counts apart, while their process is running.
        """
        if not self.broken:
            try:
                self._learn()
            except (ValueError, msgspec.MsgspecError) as error:
                self.broken = str(error)
        found = []
        for each in self._series:
            metric = self._metrics[each.metric]
            size = size_of(metric, each.edges)
            values = struct.unpack_from(f"={size}d", self._map, _HEAD + 8 * each.at)
            if metric.kind != "gauge" or not math.isnan(values[0]):
                found.append(Reading(metric, each.labels, values, each.edges))
        return found

    def close(self) -> None:
        """Unmap the memory."""
        self._map.close()

    def _learn(self) -> None:
        """Read what the directory has beyond what is known of it."""
        (used,) = _USED.unpack_from(self._map, 0)
        if used > _DIRECTORY:
            raise ValueError(f"a directory of {used} bytes")
        start = _HEAD + 8 * _NUMBERS
        while self._at < used:
            (length,) = _LENGTH.unpack_from(self._map, start + self._at)
            begin = start + self._at + _LENGTH.size
            entry = _decoder.decode(self._map[begin : begin + length])
            if isinstance(entry, _MetricEntry):
                self._metrics.append(entry.metric)
            else:
                self._check(entry)
                self._series.append(entry)
            self._at += _LENGTH.size + length

    def _check(self, entry: _SeriesEntry) -> None:
        if 0 <= entry.metric < len(self._metrics):
            size = size_of(self._metrics[entry.metric], entry.edges)
            if 0 <= entry.at <= _NUMBERS - size:
                return
        raise ValueError(f"a series that is not in the memory: {entry}")
