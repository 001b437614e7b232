"""What a metric of this process says: its values before and after what a test does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from outlast.meters import meters

__all__ = ["Counted", "counting", "value_of"]


def value_of(name: str, *labels: str) -> float | None:
    """Return the value of a series, the count of a summary; None when there is none."""
    for each in meters.read():
        if (each.metric.name, each.labels) == (name, labels):
            return each.values[0]
    return None


def _all_of(name: str) -> dict[tuple[str, ...], float]:
    return {each.labels: each.values[0] for each in meters.read() if each.metric.name == name}


class Counted:
    """What was added to the series of one metric whose first labels are `labels`."""

    def __init__(self, name: str, *labels: str) -> None:
        self._name = name
        self._labels = labels
        self._before = _all_of(name)

    @property
    def added(self) -> dict[str, float]:
        """What was added since this was made, by the other labels, those without a change left out."""
        size = len(self._labels)
        return {
            ",".join(labels[size:]): value - self._before.get(labels, 0.0)
            for labels, value in _all_of(self._name).items()
            if labels[:size] == self._labels and value != self._before.get(labels, 0.0)
        }


@contextmanager
def counting(name: str, *labels: str, **expected: float) -> Iterator[None]:
    """Fail unless exactly this is added to the series of a metric within the block, by the label after `labels`."""
    counted = Counted(name, *labels)
    yield
    assert counted.added == expected
