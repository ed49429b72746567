"""Models that are folders, kept in one file: unpacking strangers' archives, and packing our own reproducibly."""

from __future__ import annotations

import zipfile
from pathlib import Path

from edge_ai.engine.archives import ARCHIVE_DAMAGE, check_archive
from edge_ai.engine.archives import NO_TIME as NO_TIME
from edge_ai.engine.errors import UserInputError
from edge_ai.engine.sniff import unreadable


def unpack_archive(path: Path, folder: Path) -> Path:
    """Unpack a zip archive and return the folder.

    Raises
    ------
    UserInputError
        ``model_unsafe`` for links, escaping paths and bombs; ``model_unreadable`` for damage.
    """
    if folder.is_dir():
        return folder
    part = folder.with_name(folder.name + ".part")
    try:
        with zipfile.ZipFile(path) as archive:
            check_archive(archive, code="model_unsafe")
            archive.extractall(part)
    except UserInputError:
        raise
    except ARCHIVE_DAMAGE as error:
        raise unreadable(f"The archive is damaged: {error}.") from error
    part.rename(folder)
    return folder


def pack_folder(folder: Path, target: Path) -> int:
    """Pack the files of a folder, compressed, in sorted order and without times; returns the size in bytes."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), NO_TIME)
                entry.compress_type = zipfile.ZIP_DEFLATED
                with path.open("rb") as stream, archive.open(entry, "w", force_zip64=True) as packed:
                    while chunk := stream.read(1 << 20):
                        packed.write(chunk)
    return target.stat().st_size
