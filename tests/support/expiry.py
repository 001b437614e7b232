"""What the toolkit leaves in its stores for ever: nothing but what is named here.

A new piece whose data ends by itself needs no line.
"""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any, Final

import hiredis

from outlast.testing.clock import FakeClock
from outlast.toolkit.file import FileSession, ToolkitFile
from outlast.toolkit.tidies import tidies

__all__ = ["endless_keys", "endless_rows"]

KEYS: Final = (
    re.compile(r":kit:lock:\{\d+\}:fence\Z"),  # the last token
    re.compile(r":kit:(board|unique):\{[^}]*\}:all\Z"),  # declared without a period
)
"""Keys on a server that never expire."""
_OF_ALL_TIME: Final = "board in (select id from board_periods where expires is null)"
ROWS: Final = {
    "toolkit": "true",  # one row
    "lock_fence": "true",  # the last token
    "cache_total": "true",  # the sum of the sizes
    "board_periods": "expires is null",  # declared without a period
    "board_scores": _OF_ALL_TIME,
    "unique_members": _OF_ALL_TIME,
}
"""By table, the condition of rows in the file that are never removed."""

_SCAN: Final = """
local found = {}
for _, key in ipairs(redis.call('KEYS', '*:kit:*')) do
  if redis.call('PTTL', key) == -1 then found[#found + 1] = key end
end
return found
"""


def endless_keys(port: int) -> list[str]:
    """Return the keys of toolkits on the server at a port of this host that never expire, and should."""
    reader = hiredis.Reader()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as link:
        scan: Any = ("EVAL", _SCAN, 0)
        link.sendall(hiredis.pack_command(scan))
        reply: Any = False
        while reply is False:
            reader.feed(link.recv(65536))
            reply = reader.gets()
    if isinstance(reply, Exception):
        raise reply
    keys = [key.decode() for key in reply]
    return sorted(key for key in keys if not any(each.search(key) for each in KEYS))


async def endless_rows(path: Path) -> list[str]:
    """Return the tables of a toolkit's file that have rows left when all that ends has ended, and should not."""
    clock = FakeClock(time=1e11, monotonic=1e11)
    file = ToolkitFile(str(path), clock)
    await file.open()
    try:
        for tidy in tidies():
            while await file.write(tidy, synced=False):
                continue
        return await file.write(_left, synced=False)
    finally:
        await file.close()


def _left(session: FileSession) -> list[str]:
    tables = session.rows("select name from sqlite_schema where type = 'table' and name not like 'sqlite_%' order by 1")
    found = []
    for (name,) in tables:
        row = session.row(f'select count(*) from "{name}" where not ({ROWS.get(name, "false")})')
        if row is not None and row[0]:
            found.append(f"{name}: {row[0]} rows")
    return found
