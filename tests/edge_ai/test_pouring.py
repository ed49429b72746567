"""Bytes that several take at once."""

from __future__ import annotations

import hashlib
import random

import pytest

from edge_ai.services.pouring import BLOCK_BYTES, pouring


def test_everybody_gets_everything_in_its_order() -> None:
    chance = random.Random(7)  # noqa: S311 - no secret
    content = chance.randbytes(5 * BLOCK_BYTES + 321)
    digest, taken, start = hashlib.sha256(), bytearray(), 0
    with pouring((digest.update, taken.extend)) as give:
        while start < len(content):
            size = chance.choice([1, 77, 300_000, 2 * BLOCK_BYTES + 5])
            give(content[start : start + size])
            start += size
    assert bytes(taken) == content
    assert digest.hexdigest() == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("blocks", [0.5, 3])
def test_what_a_taker_raises_is_raised(blocks: float) -> None:
    def full(_: memoryview) -> None:
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"), pouring((full, len)) as give:
        give(bytes(int(blocks * BLOCK_BYTES)))
