"""Changing a protocol buffer by its fields, without knowing its messages: lengths are mended, so that parsers get far."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

_MAX_DEPTH: Final = 12
_VARINTS: Final = (0, 1, 2, 127, 128, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
_TEXTS: Final = (b"", b"\0", b"../../x", b"/etc/passwd", b"\xff\xfe", b"A" * 5000, b"\xe2\x80\xae<b>")


@dataclass(kw_only=True)
class _Field:
    number: int
    wire: int
    value: int
    data: bytes
    inner: list[_Field] | None


def mutate_protobuf(data: bytes, random: Random) -> bytes:
    """Change, remove, repeat or renumber a field at any depth; what is no protocol buffer has a bit flipped."""
    fields = _parse(data, 0)
    if not fields:
        place = random.randrange(len(data))
        return data[:place] + bytes([data[place] ^ 1 << random.randrange(8)]) + data[place + 1 :]
    for _ in range(random.randint(1, 3)):
        siblings = _choose(fields, random)
        if siblings:
            _change(siblings, random)
    return _serialize(fields)


def _choose(fields: list[_Field], random: Random) -> list[_Field]:
    """Return the fields of some message, a deep one rather than the whole."""
    while True:
        inside = [field.inner for field in fields if field.inner]
        if not inside or random.random() < 0.2:
            return fields
        fields = random.choice(inside)


def _change(siblings: list[_Field], random: Random) -> None:
    place = random.randrange(len(siblings))
    field = siblings[place]
    what = random.random()
    if what < 0.1:
        del siblings[place]
    elif what < 0.2:
        siblings[place:place] = [field] * random.choice((1, 1, 2, 40))
    elif what < 0.28:
        field.number = random.choice((1, 2, 3, 4, 5, 7, 8, 9, 10, 13, 14, 20, 2**29 - 1))
    elif what < 0.36:
        other = random.choice(siblings)
        field.wire, field.value, field.data, field.inner = other.wire, other.value, other.data, None
    elif field.wire == 0:
        field.value = random.choice((*_VARINTS, field.value + 1, max(0, field.value - 1), random.getrandbits(16)))
    elif field.wire == 2:
        field.inner = None
        if what < 0.6 or not field.data:
            field.data = random.choice((*_TEXTS, random.randbytes(9)))
        else:
            middle = random.randrange(len(field.data))
            field.data = field.data[:middle] + random.randbytes(1) + field.data[middle + 1 :]
    else:
        field.data = random.choice((b"\xff", b"\0", b"\x7f")) * len(field.data)


def _parse(data: bytes, depth: int) -> list[_Field] | None:
    """Return the fields of a message; ``None`` for bytes that are none."""
    fields = []
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, wire = tag >> 3, tag & 7
        if number == 0 or place < 0:
            return None
        field = _Field(number=number, wire=wire, value=0, data=b"", inner=None)
        if wire == 0:
            field.value, place = _varint(data, place)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            field.data, place = data[place : place + size], place + size
        elif wire == 2:
            length, place = _varint(data, place)
            if place < 0 or place + length > len(data):
                return None
            field.data, place = data[place : place + length], place + length
            if depth < _MAX_DEPTH and field.data:
                field.inner = _parse(field.data, depth + 1)
        else:
            return None
        if place < 0 or place > len(data):
            return None
        fields.append(field)
    return fields


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Return a number and the place behind it, which is -1 where there is none."""
    value = shift = 0
    while 0 <= place < len(data) and shift < 70:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
    return 0, -1


def _serialize(fields: list[_Field]) -> bytes:
    made = bytearray()
    for field in fields:
        made += _encoded(field.number << 3 | field.wire)
        if field.wire == 0:
            made += _encoded(field.value)
        elif field.wire == 2:
            data = _serialize(field.inner) if field.inner else field.data
            made += _encoded(len(data)) + data
        else:
            made += field.data
    return bytes(made)


def _encoded(value: int) -> bytes:
    value %= 1 << 64
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    made.append(value)
    return bytes(made)
