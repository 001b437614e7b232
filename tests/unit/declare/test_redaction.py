"""The texts that are masked: in every form that a traceback may show, and found without a warning or an error."""

from __future__ import annotations

import subprocess
import sys

import pytest

from outlast.declare.redaction import texts


@pytest.mark.parametrize("value", [b"s3cret", bytearray(b"s3cret"), "s3cret", ["s3cret"], {"key": b"s3cret"}])
def test_every_leaf_of_a_marked_value_is_masked(value: object) -> None:
    assert "s3cret" in set(texts(value, marked=True))


def test_bytes_are_masked_where_python_forbids_their_text() -> None:
    """With -bb, str() of bytes raises; a failure while texts are collected would leave the run without an end."""
    code = "from outlast.declare.redaction import texts; print('s3cret' in set(texts(b's3cret', marked=True)))"
    done = subprocess.run([sys.executable, "-bb", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
