"""The condition of an SQL statement that refuses the write of a holder which was superseded."""

from __future__ import annotations

import re
from typing import Final

from outlast.core.errors import ConfigurationError
from outlast.core.ids import fits
from outlast.core.text import shown

__all__ = ["fence_condition"]

_COLUMN: Final = re.compile(r'(?:[A-Za-z_]\w*|"[^"\x00]+")(?:\.(?:[A-Za-z_]\w*|"[^"\x00]+"))*\Z', re.ASCII)
_PARAMETER: Final = re.compile(r"(?:[:@$]\w+|\$\d+|\?\d*|%s|%\(\w+\)s)\Z", re.ASCII)


def fence_condition(column: str = "fence", parameter: str = ":token") -> str:
    """Return SQL that is true unless a newer token has written to the row: "(fence is null or fence <= :token)".

    Put it into the WHERE of an UPDATE that sets the column to the token, and give the row count to `lease.confirm`.
    Equal tokens are of one lease, which may write several times. column: of 64-bit integers. parameter: as the driver
    writes it. Raise ConfigurationError for other text, which would be SQL of its own.
    """
    if not fits(_COLUMN, column):
        raise ConfigurationError(f"fence_condition(column={shown(column)}): give the name of a column, such as 'fence'")
    if not fits(_PARAMETER, parameter):
        raise ConfigurationError(
            f"fence_condition(parameter={shown(parameter)}): give a parameter as the driver writes it: ':token', '$1', "
            "'?', '%s' or '%(token)s'"
        )
    return f"({column} is null or {column} <= {parameter})"
