"""What one process answers to a scrape: the figures of its stores, and those of the processes that it speaks for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Final

from outlast.core.errors import ConfigurationError
from outlast.meters.metric import Reading
from outlast.observe.store_metrics import PROCESS_FIGURES

if TYPE_CHECKING:
    from outlast.observe.sampler import Sampler

__all__ = ["Exposition"]

_INSTALL: Final = "pip install 'outlast[prometheus]'"


class Exposition:
    """The text of /metrics. readings: of the processes, joined to one of each series; called at each scrape.

    samplers: one for each app.

    Raise ConfigurationError where prometheus-client is missing.
    """

    def __init__(self, readings: Callable[[], Sequence[Reading]], samplers: Iterable[Sampler] = ()) -> None:
        try:
            from outlast.observe.prometheus_text import encode
        except ModuleNotFoundError as error:
            raise ConfigurationError(f"metrics need a package: {_INSTALL} ({error})") from None
        self._encode: Final = encode
        self._readings = readings
        self._samplers = list(samplers)

    def add(self, sampler: Sampler) -> None:
        """Show the store of one app more."""
        self._samplers.append(sampler)

    async def answer(self, accept: str = "", *, processes: bool = True) -> tuple[str, bytes]:
        """Return the content type and the text. accept: the header of the scrape.

        It returns within the time that a sample of the store may take (`Sampler`). processes False: with the figures of
        the stores alone.
        """
        sampled = await asyncio.gather(*(each.readings() for each in self._samplers))
        told = Reading(PROCESS_FIGURES, (), (float(processes),))
        return self._encode(chain([told], *sampled, self._readings() if processes else ()), accept)
