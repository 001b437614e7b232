"""An app whose one job runs in a child process, with arguments and results of any size."""

from __future__ import annotations

from outlast import Outlast

app = Outlast("tests")


@app.job(queue="work", isolate="process")
def shout(text: str) -> str:
    """Return it in upper case."""
    return text.upper()
