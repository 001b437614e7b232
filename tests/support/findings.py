"""One finding, which is well or has a fix."""

from __future__ import annotations

from collections.abc import Iterable

from outlast.core.findings import Finding

__all__ = ["only"]


def only(findings: Iterable[Finding]) -> Finding:
    """Return the only finding of a check."""
    (finding,) = findings
    assert (finding.severity == "ok") == (finding.fix == ""), "what is not well has a fix, what is well has none"
    return finding
