"""Changing bytes at random, and where a format has checksums and lengths, so that these still hold."""

from __future__ import annotations

import io
import json
import lzma
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final, Literal

from benchmarks.fuzz.protobuf import mutate_protobuf

Mutator = Callable[[bytes, Random], bytes]

#: Where sizes, counts and offsets break.
BOUNDARIES: Final = (0, 1, 2, 7, 8, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
MAX_CHANGES: Final = 6
MAX_BYTES: Final = 1 << 20
#: What reading an archive that was changed may raise.
DAMAGE: Final = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, OSError),
    *(ValueError, EOFError, NotImplementedError, RuntimeError, LookupError),
)
_NUMBER: Final = re.compile(rb"-?\d+")
_WORDS: Final = (
    b"-1",
    b"0",
    b"1",
    b"4294967296",
    b"99999999999999999999",
    b"1e999",
    b"nan",
    b"",
    b"%s%n",
    b"'\"<",
    b"\0",
)
#: What a JSON document may hold where something else is expected.
_VALUES: Final[tuple[Any, ...]] = (
    *(None, True, -1, 0, 1, 2**31, 2**63, 10**40, 1.5, float("inf"), float("nan"), "", "x" * 5000, "\0\u202e<b>"),
    *([], [[]], {}, {"class_name": "Dense"}, [None, None], ["x", 0, 0]),
)


def flip_bits(data: bytes, random: Random) -> bytes:
    """Flip a few bits."""
    if not data:
        return b"\0"
    changed = bytearray(data)
    for _ in range(random.randint(1, MAX_CHANGES)):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def overwrite_number(data: bytes, random: Random) -> bytes:
    """Write a number that is too large, too small or just off over what is there."""
    width = random.choice((1, 2, 4, 8))
    place = random.randrange(max(1, len(data) - width + 1))
    if random.random() < 0.6:
        place -= place % width
    order: Literal["little", "big"] = "little" if random.random() < 0.7 else "big"
    old = int.from_bytes(data[place : place + width], order)
    value = random.choice((*BOUNDARIES, old + 1, old - 1, old * 2, -old, len(data), random.getrandbits(64)))
    written = (value % (1 << 8 * width)).to_bytes(width, order)
    return data[:place] + written + data[place + width :]


def cut(data: bytes, random: Random) -> bytes:
    """End too early."""
    return data[: random.randrange(1, max(2, len(data)))]


def repeat_block(data: bytes, random: Random) -> bytes:
    """Have a stretch twice, or often."""
    first, last = _stretch(data, random)
    times = random.choice((2, 2, 3, 50))
    return (data[:first] + data[first:last] * times + data[last:])[:MAX_BYTES]


def remove_block(data: bytes, random: Random) -> bytes:
    """Leave a stretch out."""
    first, last = _stretch(data, random)
    return data[:first] + data[last:]


def move_block(data: bytes, random: Random) -> bytes:
    """Write a stretch over another place, so that offsets and lengths stay plausible but wrong."""
    first, last = _stretch(data, random)
    place = random.randrange(len(data))
    return data[:place] + data[first:last] + data[place + last - first :]


def write_noise(data: bytes, random: Random) -> bytes:
    """Fill a stretch with anything, or with one byte."""
    first, last = _stretch(data, random)
    noise = (
        random.randbytes(last - first)
        if random.random() < 0.5
        else bytes([random.choice((0, 255, 65))]) * (last - first)
    )
    return data[:first] + noise + data[last:]


def change_text(data: bytes, random: Random) -> bytes:
    """Replace a number that is written in digits by an absurd word."""
    found = list(_NUMBER.finditer(data))
    if not found:
        return flip_bits(data, random)
    number = random.choice(found)
    return data[: number.start()] + random.choice(_WORDS) + data[number.end() :]


def move_offset(data: bytes, random: Random) -> bytes:
    """Copy one aligned word over another: what a flatbuffer takes for an offset, a length or a layout."""
    width = random.choice((2, 4, 4))
    count = len(data) // width
    if count < 2:
        return flip_bits(data, random)
    source, target = random.randrange(count) * width, random.randrange(count) * width
    return data[:target] + data[source : source + width] + data[target + width :]


def mutate_json(data: bytes, random: Random) -> bytes:
    """Replace, remove or repeat a value somewhere in a JSON document."""
    try:
        document = json.loads(data)
    except ValueError:
        return change_text(data, random)
    places: list[tuple[Any, Any]] = []

    def collect(value: Any) -> None:
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            places.append((value, key))
            if isinstance(item, (dict, list)):
                collect(item)

    if isinstance(document, (dict, list)):
        collect(document)
    if not places:
        return flip_bits(data, random)
    for _ in range(random.randint(1, 3)):
        holder, key = random.choice(places)
        what = random.random()
        if what < 0.6:
            holder[key] = random.choice(_VALUES)
        elif what < 0.8 and isinstance(holder, dict):
            holder.pop(key, None)
        else:
            owner, other = random.choice(places)
            if not isinstance(owner, dict) or other in owner:
                # A copy: what refers to itself cannot be written.
                holder[key] = json.loads(json.dumps(owner[other])) if _has(owner, other) else None
    return json.dumps(document).encode()


def _has(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else key < len(holder)


def mutate_safetensors(data: bytes, random: Random) -> bytes:
    """Change the header, and mend its length."""
    length = int.from_bytes(data[:8], "little")
    header = mutate_json(data[8 : 8 + length], random)
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


def mutate_zip(data: bytes, random: Random, by_suffix: Sequence[tuple[str, Mutator]] = ()) -> bytes:
    """Change what an archive holds, with checksums that fit: the content of an entry, or which entries there are.

    Parameters
    ----------
    by_suffix
        How the content of entries is changed by how their names end, beside what is done to any bytes.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    name = random.choice(list(entries))
    what = random.random()
    if what < 0.85:
        own = [mutator for suffix, mutator in by_suffix if name.endswith(suffix)]
        mutator = random.choice(own) if own and random.random() < 0.6 else random.choice(ANYTHING)
        entries[name] = mutator(entries[name], random) if entries[name] else b"\0"
    elif what < 0.9:
        del entries[name]
    elif what < 0.95:
        entries[random.choice(("../", "/", "a/", "A" * 300, "\u202e", "x\\..\\")) + name] = entries.pop(name)
    else:
        entries[name] = entries[random.choice(list(entries))]
    held = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(held, "w") as archive:
        for key, content in entries.items():
            archive.writestr(zipfile.ZipInfo(key, (1980, 1, 1, 0, 0, 0)), content)
            if random.random() < 0.01:
                archive.writestr(zipfile.ZipInfo(key, (1980, 1, 1, 0, 0, 0)), content)
    return held.getvalue()


def _stretch(data: bytes, random: Random) -> tuple[int, int]:
    first = random.randrange(len(data))
    return first, min(len(data), first + random.choice((1, 2, 4, 8, 16, 64, 256)))


#: What is done to any bytes.
ANYTHING: Final[tuple[Mutator, ...]] = (
    flip_bits,
    overwrite_number,
    overwrite_number,
    cut,
    repeat_block,
    remove_block,
    move_block,
    write_noise,
    change_text,
    move_offset,
)
#: What is done to the entries of archives, by how their names end.
_ENTRIES: Final[tuple[tuple[str, Mutator], ...]] = (
    (".json", mutate_json),
    (".onnx", mutate_protobuf),
    (".pb", mutate_protobuf),
    (".mlmodel", mutate_protobuf),
    (".xml", change_text),
    (".param", change_text),
    (".npy", change_text),
)
#: What is done to the bytes of each format's files that are no archives, beside what is done to any.
_OWN: Final[dict[str, tuple[Mutator, ...]]] = {
    "onnx": (mutate_protobuf, mutate_protobuf),
    "coreml": (mutate_protobuf, mutate_protobuf),
    "ort": (move_offset, overwrite_number),
    "tflite": (move_offset, overwrite_number),
    "h5": (change_text, overwrite_number),
    "safetensors": (mutate_safetensors, mutate_safetensors),
}


def mutant(seeds: Sequence[bytes], format: str, number: int, seed: int) -> bytes:
    """Return a mutant: the same one for the same arguments."""
    random = Random(f"{seed}/{format}/{number}")  # noqa: S311 - nothing secret
    data = random.choice(seeds)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        if not data:
            break
        own = _OWN.get(format, ())
        what = random.random()
        if data[:4] == b"PK\x03\x04" and what < 0.8:
            try:
                data = mutate_zip(data, random, _ENTRIES)
            except DAMAGE:
                data = flip_bits(data, random)
        elif what < 0.1 and len(seeds) > 1:
            other = random.choice(seeds)
            place = random.randrange(len(data))
            data = data[:place] + other[random.randrange(len(other)) :]
        else:
            mutator = random.choice(own) if own and what < 0.6 else random.choice(ANYTHING)
            data = mutator(data, random)
    return data[:MAX_BYTES] or b"\0"
