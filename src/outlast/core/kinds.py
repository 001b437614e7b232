"""Kinds on the wire: the name, and the version of the arguments from version 2 on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from outlast.core.calls import is_async
from outlast.core.errors import ConfigurationError

__all__ = [
    "KIND_NAME",
    "WIRE_KIND",
    "Upgrade",
    "check_aliases",
    "check_upgrades",
    "name_of",
    "runnable_kinds",
    "version_of",
    "wire_kind",
]

KIND_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}\Z")
WIRE_KIND: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}(?:@(?:[2-9]|[1-9][0-9]{1,8}))?\Z")
_LAST: Final = 999_999_999

Upgrade = Callable[[dict[str, Any]], Mapping[str, Any]]
"""Converts the stored arguments of one version (plain JSON values by name) to those of the next version."""


def wire_kind(name: str, version: int) -> str:
    """Return the kind of a message: "send_receipt" for version 1, "send_receipt@2" for version 2."""
    return name if version == 1 else f"{name}@{version}"


def name_of(kind: str) -> str:
    """Return the name of a wire kind, without the version."""
    return kind.partition("@")[0]


def version_of(kind: str) -> int:
    """Return the version of a wire kind."""
    return int(kind.partition("@")[2] or 1)


def runnable_kinds(kind: str, aliases: Iterable[str], version: int, upgrades: Mapping[int, Upgrade]) -> dict[str, int]:
    """Return every wire kind that a handler of this version can run, with the version of its arguments.

    These are the present version and those that have an upgrade, under the present name and each former one. The
    present name with the present version is first.
    """
    versions = (version, *sorted(upgrades, reverse=True))
    return {wire_kind(name, each): each for name in (kind, *aliases) for each in versions}


def check_aliases(kind: str, aliases: object) -> tuple[str, ...]:
    """Return the former names of a kind; raise ConfigurationError for an invalid name and for the present one."""
    where = f"job {kind!r}: aliases={aliases!r}"
    if isinstance(aliases, str) or not isinstance(aliases, Iterable):
        raise ConfigurationError(f"{where}: give a tuple of former names, such as aliases=('send_mail',)")
    names = tuple(aliases)
    for alias in names:
        if not (isinstance(alias, str) and KIND_NAME.match(alias)):
            raise ConfigurationError(
                f"{where}: {alias!r} is not the name of a kind: use 1 to 128 letters, digits or _ . - without a "
                "version; a former name covers every version that upgrades= reaches"
            )
    if kind in names or len(set(names)) < len(names):
        raise ConfigurationError(f"{where}: name each former name once, and not the present one")
    return names


def check_upgrades(kind: str, version: object, upgrades: object) -> dict[int, Upgrade]:
    """Return the upgrades by the version that each one converts; raise ConfigurationError for a missing one.

    Every version from the oldest one that is still run to the one before the present needs an upgrade.
    """
    if type(version) is not int or not 1 <= version <= _LAST:
        raise ConfigurationError(f"job {kind!r}: version={version!r}: give a whole number, 1 or more")
    if upgrades is None:
        if version > 1:
            raise ConfigurationError(
                f"job {kind!r}: version={version} without upgrades=: give upgrades={{{version - 1}: function}}, which "
                f"converts the arguments of version {version - 1} to version {version}; or upgrades={{}} when no "
                "job of an older version is left: such a job would stay parked"
            )
        return {}
    if not isinstance(upgrades, Mapping):
        raise ConfigurationError(f"job {kind!r}: upgrades={upgrades!r}: give a dict of functions by version")
    checked: dict[int, Upgrade] = {}
    for each, function in upgrades.items():
        if type(each) is not int or not 1 <= each < version:
            raise ConfigurationError(
                f"job {kind!r}: upgrades={{{each!r}: ...}}: an upgrade begins from a version below version={version}"
            )
        if not callable(function) or is_async(function):
            raise ConfigurationError(
                f"job {kind!r}: upgrades={{{each}: {function!r}}}: give a plain function that takes the arguments of "
                f"version {each} as a dict and returns those of version {each + 1}"
            )
        checked[each] = function
    missing = [each for each in range(min(checked, default=version), version) if each not in checked]
    if missing:
        raise ConfigurationError(
            f"job {kind!r}: upgrades= lacks the step from version {missing[0]} to {missing[0] + 1}: a job of version "
            f"{min(checked)} could not reach version {version}"
        )
    return checked
