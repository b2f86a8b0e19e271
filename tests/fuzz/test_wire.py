"""The fuzzer's target over its committed inputs, without the fuzzer."""

from pathlib import Path

import pytest

from tests.fuzz.wire import one_input

CORPUS = sorted((Path(__file__).parent / "corpus").iterdir())


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_known_input(path: Path) -> None:
    """Bytes of a client are read or refused; nothing else comes of them."""
    one_input(path.read_bytes())


@pytest.mark.parametrize("size", [0, 1, 2])
def test_shortest_inputs(size: int) -> None:
    """Every first byte, with next to nothing behind it."""
    for first in range(256):
        one_input(bytes([first, 0x32])[:size])
