"""The TLS context of a connection, from the files that the options of its URL name."""

from __future__ import annotations

import ssl
from pathlib import Path

from outlast.core.errors import ConfigurationError

__all__ = ["is_file", "tls_context"]


def is_file(path: str) -> bool:
    """Return whether there is a file of this path; a path that is too long is that of none."""
    try:
        return Path(path).is_file()
    except OSError:
        return False


def tls_context(ca: str, cert: str, key: str) -> ssl.SSLContext:
    """Return a context that verifies the server; raise ConfigurationError for a file that cannot be used.

    ca: of the authorities, "" for those of the system. cert, key: of the client, "" for none.
    """
    try:
        context = ssl.create_default_context(cafile=ca or None)
        if cert:
            context.load_cert_chain(cert, key or None)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(f"{name}={value}" for name, value in (("ca", ca), ("cert", cert)) if value)
        raise ConfigurationError(f"url: ?{files}: {error}; give readable PEM files") from None
    return context
