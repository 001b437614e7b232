"""The cookie of a session: how it is read from a request, and set and removed by an answer."""

from __future__ import annotations

import re
from typing import Final, Literal

from msgspec import Struct

from outlast.core.errors import ConfigurationError
from outlast.core.text import shown

__all__ = ["SameSite", "SessionCookie", "cookie_of"]

SameSite = Literal["lax", "strict", "none"]
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_SITES: Final = {"lax": "Lax", "strict": "Strict", "none": "None"}


class SessionCookie(Struct, frozen=True):
    """A cookie. name: as it is sent; attributes: all but Max-Age."""

    name: str
    attributes: str

    def read(self, headers: list[tuple[bytes, bytes]]) -> str | None:
        """Return the value in a request, None when it has none, or several, or one that is no ASCII."""
        wanted, found = self.name.encode("ascii"), list[bytes]()
        for header, line in headers:
            if header == b"cookie" and wanted in line:
                parts = (part.strip().partition(b"=") for part in line.split(b";"))
                found += [value for name, equals, value in parts if equals and name == wanted]
        if len(found) != 1 or not found[0].isascii():
            return None
        return found[0].decode("ascii")

    def set_to(self, value: str, max_age: float | None) -> bytes:
        """Return the header Set-Cookie with a value. max_age: seconds, None until the browser is closed."""
        age = "" if max_age is None else f"; Max-Age={max(1, int(max_age))}"
        return f"{self.name}={value}{age}{self.attributes}".encode("ascii")

    def removed(self) -> bytes:
        """Return the header Set-Cookie that removes it."""
        return f"{self.name}=; Max-Age=0{self.attributes}".encode("ascii")


def cookie_of(name: object, *, same_site: object, plain_http: object) -> SessionCookie:
    """Return the cookie; raise ConfigurationError."""
    if not isinstance(name, str) or not _NAME.match(name) or name.startswith("__"):
        raise ConfigurationError(
            f"SessionMiddleware(cookie={shown(name)}): give 1 to 64 letters, digits or _ - such as 'session': the "
            "prefix __Host- comes before it"
        )
    if same_site not in _SITES:
        raise ConfigurationError(f"SessionMiddleware(same_site={shown(same_site)}): give 'lax', 'strict' or 'none'")
    if type(plain_http) is not bool:
        raise ConfigurationError(f"SessionMiddleware(plain_http={shown(plain_http)}): give True or False")
    if plain_http and same_site == "none":
        raise ConfigurationError("SessionMiddleware(same_site='none'): browsers ask for https: leave plain_http out")
    prefix, secure = ("", "") if plain_http else ("__Host-", "; Secure")
    return SessionCookie(f"{prefix}{name}", f"; Path=/{secure}; HttpOnly; SameSite={_SITES[str(same_site)]}")
