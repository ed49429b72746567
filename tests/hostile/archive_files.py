"""Hostile archives, and pickles."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from collections.abc import Callable

from benchmarks.fuzz.seeds import zipped
from tests.hostile.keras_files import pickled
from tests.hostile.kinds import Bait, hostile

HONEST = {"model.onnx": b"\x08\x09"}


def entry(name: str, *, mode: int = stat.S_IFREG | 0o600) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    made.external_attr = mode << 16
    made.compress_type = zipfile.ZIP_DEFLATED
    return made


def archive(fill: Callable[[zipfile.ZipFile], None]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr(entry("model.onnx"), HONEST["model.onnx"])
        fill(made)
    return held.getvalue()


@hostile("zip-bomb", "unpacks 100 KB to 100 MB", "upload", "model_unsafe")
def _(bait: Bait) -> bytes:
    return archive(lambda made: made.writestr(entry("w.bin"), bytes(100 << 20)))


@hostile("zip-bomb-of-gigabytes", "unpacks 1 KB to 4 GB", "upload", "model_unsafe")
def _(bait: Bait) -> bytes:
    # Both places that say so, as if it were true.
    data = archive(lambda made: made.writestr(entry("w.bin"), bytes(1 << 20)))
    return data.replace(struct.pack("<I", 1 << 20), struct.pack("<I", 0xFFFFFFF0))


@hostile("zip-bomb-of-many", "unpacks 300 entries that are each too small to count", "upload", "model_unsafe")
def _(bait: Bait) -> bytes:
    def fill(made: zipfile.ZipFile) -> None:
        for number in range(300):
            made.writestr(entry(f"{number}.bin"), bytes(900_000))

    return archive(fill)


@hostile("zip-overlap", "has a thousand entries of the same bytes", "upload", "model_unsafe")
def _(bait: Bait) -> bytes:
    def fill(made: zipfile.ZipFile) -> None:
        made.writestr(entry("0.bin"), b"0123456789abcdef" * 2048, zipfile.ZIP_STORED)
        first = made.getinfo("0.bin")
        for number in range(1, 1000):
            twin = entry(f"{number}.bin")
            for name in ("header_offset", "CRC", "compress_size", "file_size", "compress_type"):
                setattr(twin, name, getattr(first, name))
            made.filelist.append(twin)

    return archive(fill)


@hostile("zip-lies", "unpacks to more than its list of entries says", "analysis", "model_unreadable")
def _(bait: Bait) -> bytes:
    data = archive(lambda made: made.writestr(entry("w.bin"), bytes(1 << 20)))
    return data.replace(struct.pack("<I", 1 << 20), struct.pack("<I", 100))


@hostile("zip-nested", "packs archives into archives", "upload", "model_unreadable")
def _(bait: Bait) -> bytes:
    data = zipped({"w.bin": bytes(10 << 20)}, compressed=True)
    for _ in range(20):
        data = zipped({f"{number}.zip": data for number in range(2)}, compressed=True)
    return data


@hostile("zip-many-entries", "has 2,001 entries", "upload", "model_unsafe")
def _(bait: Bait) -> bytes:
    def fill(made: zipfile.ZipFile) -> None:
        for number in range(2000):
            made.writestr(entry(str(number)), b"")

    return archive(fill)


@hostile("zip-endless-list", "has a list of entries as long as an upload may be", "upload", "model_unreadable")
def _(bait: Bait) -> bytes:
    def fill(made: zipfile.ZipFile) -> None:
        made.filelist.extend(made.filelist * 40_000)

    return archive(fill)


def named(name: str) -> bytes:
    return archive(lambda made: made.writestr(entry(name), b"mark"))


@hostile("zip-parent", "unpacks an entry by ../", "upload", "model_unsafe")
def _(bait: Bait) -> bytes:
    return named(f"../../{bait.marker.name}")


@hostile("zip-absolute", "unpacks an entry by its whole path", "upload", "model_unsafe")
def _(bait: Bait) -> bytes:
    return named(str(bait.marker))


@hostile("zip-backslash", "unpacks an entry by ..\\", "upload", "model_unsafe")
def _(bait: Bait) -> bytes:
    return named(f"..\\..\\{bait.marker.name}")


@hostile("zip-drive", "unpacks an entry to a drive", "upload", "model_unsafe")
def _(bait: Bait) -> bytes:
    return named("C:\\mark")


@hostile("zip-duplicate", "has two entries of one name, for two readers", "upload", "model_unsafe")
def _(bait: Bait) -> bytes:
    return named("MODEL.onnx")


@hostile("zip-symlink", "unpacks a symbolic link", "upload", "model_unsafe")
def _(bait: Bait) -> bytes:
    link = entry("w.bin", mode=stat.S_IFLNK | 0o777)
    return archive(lambda made: made.writestr(link, str(bait.secret_file)))


@hostile("zip-device", "unpacks a device", "upload", "model_unsafe")
def _(bait: Bait) -> bytes:
    return archive(lambda made: made.writestr(entry("w.bin", mode=stat.S_IFCHR | 0o666), b""))


@hostile("zip-encrypted", "has an entry that needs a password", "upload", "model_unsafe")
def _(bait: Bait) -> bytes:
    data = bytearray(zipped(HONEST))
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


@hostile("pickle", "is a pickle, which runs code", "upload", "model_unsafe")
def _(bait: Bait) -> bytes:
    return pickled(bait, 4)


@hostile("pickle-as-text", "is a pickle of the oldest kind, which is text", "upload", "model_unreadable")
def _(bait: Bait) -> bytes:
    return pickled(bait, 0)


@hostile("pickle-in-torch", "is an archive of PyTorch, with a pickle in it", "upload", "model_unsafe")
def _(bait: Bait) -> bytes:
    return zipped({"m/data.pkl": pickled(bait, 2), "m/data/0": bytes(48), "m/version": b"3"})


@hostile("pickle-beside-onnx", "hides a pickle beside an ONNX file", "upload", "model_unsafe")
def _(bait: Bait) -> bytes:
    return zipped(HONEST | {"extra/weights.pkl": pickled(bait, 4)})
