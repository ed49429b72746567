"""WAV files of strangers as arrays. For the engine's own process."""

from __future__ import annotations

import io
import struct
import wave
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_ai.engine.dataset_files import bad_files, not_sound
from edge_ai.engine.dataset_preprocess import AudioSteps

Array = npt.NDArray[Any]


def decode_sound(data: bytes, name: str) -> tuple[npt.NDArray[np.float32], int]:
    """Return a sound of one channel, values from -1 to 1, and its sample rate in Hz; several channels are averaged.

    Raises
    ------
    UserInputError
        ``dataset_unreadable`` naming the file: no PCM, or not as long as it says.
    """
    try:
        with wave.open(io.BytesIO(data)) as sound:
            channels, width, rate, frames = (
                sound.getnchannels(),
                sound.getsampwidth(),
                sound.getframerate(),
                sound.getnframes(),
            )
            # No more than is there can be read, whatever it says.
            content = sound.readframes(min(frames, len(data)))
    except (wave.Error, EOFError, struct.error, ValueError, OverflowError) as error:
        raise not_sound(name, error) from None
    there = len(content) // (channels * width)
    if there != frames:
        raise bad_files(
            f"{name[:100]!r} says that it has {frames:,} frames and holds {there:,}: it is cut short or lies"
        )
    if frames == 0 or rate <= 0:
        raise bad_files(f"{name[:100]!r} holds no sound")
    return _samples(content, width).reshape(frames, channels).mean(axis=1, dtype=np.float32), rate


def sound_numbers(sound: Array, rate: int, name: str, steps: AudioSteps, length: int) -> Array:
    """Return a sound as a sample of the model's input.

    Raises
    ------
    UserInputError
        ``dataset_unreadable`` when its sample rate, or its length, is another one than it must be.
    """
    if steps.sample_rate is not None and rate != steps.sample_rate:
        raise bad_files(
            f"{name[:100]!r} has {rate:,} samples a second, and preprocess.json wants {steps.sample_rate:,}"
        )
    if steps.length is None and len(sound) != length:
        raise bad_files(
            f"{name[:100]!r} has {len(sound):,} samples and the first file {length:,}; give a “length” in preprocess.json"
        )
    whole = np.zeros(length, np.float32)
    whole[: len(sound)] = sound[:length]
    numbers = (whole * np.float32(steps.scale) - np.float32(steps.mean)) / np.float32(steps.std)
    return np.ascontiguousarray(numbers.reshape(steps.shape(length)))


def _samples(content: bytes, width: int) -> npt.NDArray[np.float32]:
    """Return PCM as numbers from -1 to 1."""
    if width == 1:
        return (np.frombuffer(content, np.uint8).astype(np.float32) - 128) / np.float32(128)
    if width == 3:
        # Three bytes as the upper ones of four.
        wide = np.zeros((len(content) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, 3)
        return wide.reshape(-1).view("<i4").astype(np.float32) / np.float32(1 << 31)
    found = np.frombuffer(content, "<i2" if width == 2 else "<i4")
    return found.astype(np.float32) / np.float32(1 << (8 * width - 1))
