"""Certificates for tests of TLS: of a CA of the test's own, for this machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

__all__ = ["certificates"]


def certificates(folder: Path) -> dict[str, Path]:
    """Make a CA, and a certificate of it for localhost."""
    made = {name: folder / f"{name}.pem" for name in ("ca", "ca_key", "cert", "key", "request")}
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")

    def openssl(*arguments: str | Path) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    new = ("req", "-newkey", "rsa:2048", "-nodes")
    openssl(*new, "-x509", "-subj", "/CN=ca", "-keyout", made["ca_key"], "-out", made["ca"])
    openssl(*new, "-subj", "/CN=localhost", "-keyout", made["key"], "-out", made["request"])
    of = ("-CA", made["ca"], "-CAkey", made["ca_key"], "-CAcreateserial", "-extfile", folder / "names")
    openssl("x509", "-req", "-in", made["request"], *of, "-out", made["cert"])
    return made
