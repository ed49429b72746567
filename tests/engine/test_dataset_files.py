"""Data sets of images and sounds: what becomes of a pixel and of a sample, and what is refused with which code."""

import io
import json
import struct
import wave
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_ai.engine.dataset_header import read_dataset_header
from edge_ai.engine.errors import EngineError
from edge_ai.engine.evaluate import dataset_files
from edge_ai.engine.evaluate.dataset import load_dataset
from edge_ai.engine.evaluate.dataset_files import read_files
from edge_ai.engine.evaluate.images import MAX_PIXELS
from edge_ai.engine.image_header import image_size
from edge_ai.engine.runtime.base import Tensor


def picture(height: int, width: int, *, kind: str = ".png", seed: int = 0) -> bytes:
    """An image whose pixels are known: `pixels` has them as red, green, blue."""
    done, encoded = cv2.imencode(kind, np.ascontiguousarray(pixels(height, width, seed)[:, :, ::-1]))
    assert done
    return encoded.tobytes()


def pixels(height: int, width: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def sound(values: list[int], *, width: int = 2, rate: int = 16_000, channels: int = 1) -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(b"".join(value.to_bytes(width, "little", signed=width > 1) for value in values))
    return stream.getvalue()


def packed(path: Path, entries: Mapping[str, object]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content if isinstance(content, bytes | str) else json.dumps(content))
    return path


def refusal(path: Path) -> EngineError:
    """What reading the whole data set ends with."""
    with pytest.raises(EngineError) as caught:
        load_dataset(path)
    return caught.value


def test_an_image_is_scaled_as_training_does_and_fits_the_only_input(tmp_path: Path) -> None:
    steps = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    path = packed(
        tmp_path / "d.zip",
        {
            "b.png": picture(6, 5, seed=1),
            "a.png": picture(6, 5),
            "labels.csv": "file,label\na.png,3\nb.png,1\n",
            "preprocess.json": steps,
        },
    )
    header = read_dataset_header(path)
    assert header.arrays[0].shape == (2, 3, 6, 5)
    assert (header.samples, header.has_labels, header.content, header.arrays[0].name) == (2, True, "images", "*")
    found = load_dataset(path)
    wanted = (pixels(6, 5) / 255 - steps["mean"]) / steps["std"]
    assert np.allclose(found.inputs["*"][0], wanted.transpose(2, 0, 1), atol=1e-5)
    assert found.labels is not None and found.labels.tolist() == [3, 1]
    matched = found.matched([Tensor(name="pixels", dtype="float32", shape=("batch", 3, 6, 5))])
    assert matched.inputs.keys() == {"pixels"}


@pytest.mark.parametrize("order", ["rgb", "bgr", "gray"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_colours_and_axes_are_in_the_order_asked_for(order: str, layout: str, tmp_path: Path) -> None:
    steps = {"color_order": order, "layout": layout, "dtype": "uint8", "input": "image"}
    found = load_dataset(packed(tmp_path / "d.zip", {"a.png": picture(4, 7), "preprocess.json": steps})).inputs["image"]
    plain = pixels(4, 7)
    if order == "gray":
        wanted = np.round(plain @ [0.299, 0.587, 0.114])[:, :, np.newaxis]
    else:
        wanted = plain if order == "rgb" else plain[:, :, ::-1]
    got = found[0] if layout == "nhwc" else found[0].transpose(1, 2, 0)
    assert found.dtype == np.uint8
    assert np.abs(got.astype(int) - wanted).max() <= (1 if order == "gray" else 0)


def test_resizing_stretches_crops_or_pads(tmp_path: Path) -> None:
    image = {"a.png": picture(8, 16)}

    def made(**steps: object) -> np.ndarray[Any, Any]:
        given = {"dtype": "uint8", "layout": "nhwc", "resize": [8, 8], "interpolation": "nearest"} | steps
        return np.asarray(load_dataset(packed(tmp_path / "d.zip", image | {"preprocess.json": given})).inputs["*"][0])

    plain = pixels(8, 16)
    assert np.array_equal(made(), plain[:, ::2])
    assert np.array_equal(made(mode="crop"), plain[:, 4:12])
    padded = made(mode="pad", pad_value=114)
    assert (padded[:2] == 114).all() and (padded[6:] == 114).all()
    assert np.array_equal(padded[2:6], plain[::2, ::2])
    assert made(mode="crop", shorter=16).shape == (8, 8, 3)


def test_masks_go_where_their_images_go(tmp_path: Path) -> None:
    mask = np.zeros((8, 16), np.uint8)
    mask[:, 8:] = 2
    done, encoded = cv2.imencode(".png", mask)
    assert done
    path = packed(
        tmp_path / "d.zip",
        {
            "images/a.png": picture(8, 16),
            "masks/a.png": encoded.tobytes(),
            "labels.csv": "file,mask\nimages/a.png,masks/a.png\n",
            "preprocess.json": {"resize": [8, 8], "mode": "pad"},
        },
    )
    found = load_dataset(path)
    assert found.samples == 1
    assert found.task is not None and found.task.task == "segmentation"
    assert found.labels is not None
    # What was added around the image does not count.
    assert found.labels[0].tolist() == [[255] * 8] * 2 + [[0, 0, 0, 0, 2, 2, 2, 2]] * 4 + [[255] * 8] * 2


def test_boxes_go_where_their_images_go(tmp_path: Path) -> None:
    boxes = {
        "images": [{"id": 5, "file_name": "a.png"}],
        "categories": [{"id": 18}, {"id": 3}],
        "annotations": [{"image_id": 5, "category_id": 18, "bbox": [4, 2, 8, 4]}],
    }
    path = packed(
        tmp_path / "d.zip",
        {
            "a.png": picture(8, 16),
            "annotations.json": boxes,
            "preprocess.json": {"resize": 8, "mode": "pad"},
        },
    )
    found = load_dataset(path)
    assert found.task is not None and found.task.categories == (3, 18)
    assert found.labels is not None
    (box,) = json.loads(str(found.labels[0]))
    assert (box["category_id"], box["bbox"]) == (18, [2, 3, 4, 2])


def test_labels_are_numbers_or_texts(tmp_path: Path) -> None:
    for cells, wanted in ((("1", "0"), [1, 0]), (("1.5", "2"), [1.5, 2.0]), (("cat", "dog"), ["cat", "dog"])):
        labels = f"label,file\n{cells[0]},a.png\n{cells[1]},b.png\n"
        path = packed(tmp_path / "d.zip", {"a.png": picture(2, 2), "b.png": picture(2, 2), "labels.csv": labels})
        found = load_dataset(path).labels
        assert found is not None and found.tolist() == wanted
    digits = {"task": "ctc", "charset": "0123456789"}
    entries = {"a.png": picture(2, 2), "labels.csv": "file,label\na.png,0042\n", "task.json": digits}
    found = load_dataset(packed(tmp_path / "d.zip", entries)).labels
    assert found is not None and found.tolist() == ["0042"]


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_sounds_of_every_width_are_the_same_numbers(width: int, tmp_path: Path) -> None:
    top = 1 << (8 * width - 1)
    values = [top // 2, -top // 2, 0] if width > 1 else [192, 64, 128]
    found = load_dataset(packed(tmp_path / "d.zip", {"a.wav": sound(values, width=width)}))
    assert found.content == "audio"
    assert found.inputs["*"].tolist() == [[0.5, -0.5, 0.0]]


def test_sounds_are_cut_or_filled_and_their_channels_averaged(tmp_path: Path) -> None:
    entries = {
        "a.wav": sound([16384, 0, 8192, 8192], channels=2),
        "b.wav": sound([16384] * 5),
        "preprocess.json": {"length": 4, "layout": "nct", "sample_rate": 16_000, "scale": 2},
    }
    path = packed(tmp_path / "d.zip", entries)
    assert read_dataset_header(path).arrays[0].shape == (2, 1, 4)
    assert load_dataset(path).inputs["*"].tolist() == [[[0.5, 0.5, 0, 0]], [[1, 1, 1, 1]]]


def test_of_more_than_there_is_room_for_a_part_is_drawn(tmp_path: Path) -> None:
    entries = {f"{place}.png": picture(4, 4, seed=place) for place in range(9)}
    labels = "file,label\n" + "".join(f"{place}.png,{place}\n" for place in range(9))
    path = packed(tmp_path / "d.zip", entries | {"labels.csv": labels})
    found = read_files(path, max_bytes=4 * 4 * 4 * 3 * 5)
    assert len(found.array) == 5
    assert "Of 9 samples 5 were read" in found.notes[0]
    assert found.labels is not None
    for row, place in zip(found.array, found.labels.tolist(), strict=True):
        assert np.allclose(row, pixels(4, 4, place).transpose(2, 0, 1) / 255, atol=1e-6)
    assert dataset_files.MAX_ARRAY_BYTES == 1 << 30


@pytest.mark.parametrize("kind", [".png", ".jpg", ".bmp", ".webp"])
def test_the_size_of_an_image_is_read_from_its_first_bytes(kind: str) -> None:
    assert image_size(picture(37, 21, kind=kind)[:4096]) == (37, 21)
    assert image_size(picture(37, 21, kind=kind)[:12]) is None


def test_the_task_of_arrays_is_a_text_among_them(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    task = json.dumps({"task": "ctc", "charset": ["a", "é", "字"], "blank": "last"})
    arrays: dict[str, Any] = {"x": np.zeros((2, 3)), "labels": np.array(["a", "字"]), "task.json": np.array(task)}
    np.savez(path, **arrays)
    assert read_dataset_header(path).task == "ctc"
    found = load_dataset(path)
    assert found.task is not None
    assert (found.task.charset, found.task.blank, list(found.inputs)) == (("a", "é", "字"), -1, ["x"])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "does not hold one JSON object"),
        ({"resize": [0, 4]}, "“resize”"),
        ({"resize": [4, 1e9]}, "“resize”"),
        ({"std": [1, 0, 1]}, "0 for “scale” or “std”"),
        ('{"mean": NaN}', "NaN is no number"),
        ('{"scale": 1e999}', "endless"),
        ({"mean": [1, 2]}, "has 2 numbers for “mean”"),
        ({"mean": "abc"}, "“mean”"),
        ({"layout": "hwcn"}, "one of nchw, nhwc"),
        ({"colour": "rgb"}, "“colour”, which means nothing here"),
        ({"dtype": "uint8", "mean": 1}, "not applied to uint8"),
        ({"mode": "crop"}, "without “resize”"),
        ({"input": ""}, "“input”"),
    ],
)
def test_nonsense_in_preprocess_json_is_refused_at_the_upload(given: object, says: str, tmp_path: Path) -> None:
    path = packed(tmp_path / "d.zip", {"a.png": picture(4, 4), "preprocess.json": given})
    with pytest.raises(EngineError) as caught:
        read_dataset_header(path)
    assert caught.value.code == "preprocess_invalid"
    assert says in caught.value.message


@pytest.mark.parametrize(
    "given",
    [
        {"task": "guessing"},
        {},
        {"task": "ctc"},
        {"task": "ctc", "charset": "aa"},
        {"task": "ctc", "charset": "ab", "blank": 3},
        {"task": "detection", "boxes": "b"},
        {"task": "classification", "classes": "ab"},
        {"task": "classification", "metric": "lambda x: 1"},
    ],
)
def test_nonsense_in_task_json_is_refused_at_the_upload(given: object, tmp_path: Path) -> None:
    path = packed(tmp_path / "d.zip", {"a.png": picture(4, 4), "task.json": given})
    with pytest.raises(EngineError) as caught:
        read_dataset_header(path)
    assert caught.value.code == "task_invalid"


def test_damaged_images_are_refused_by_name(tmp_path: Path) -> None:
    for kind in (".png", ".jpg"):
        whole = picture(40, 40, kind=kind)
        for name, content in (("cut", whole[: len(whole) // 2]), ("text", b"no image at all"), ("empty", b"")):
            path = packed(tmp_path / "d.zip", {"a.png": picture(40, 40), f"{name}{kind}": content})
            error = refusal(path)
            assert error.code == "dataset_unreadable"
            assert f"{name}{kind}" in error.message


def test_an_image_that_claims_to_be_endless_is_not_decoded(tmp_path: Path) -> None:
    data = bytearray(picture(4, 4))
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    assert MAX_PIXELS < 60_000 * 60_000
    path = packed(tmp_path / "d.zip", {"a.png": bytes(data), "preprocess.json": {"resize": [4, 4]}})
    assert "more than can be used" in refusal(path).message


def test_images_of_different_sizes_need_a_resize(tmp_path: Path) -> None:
    error = refusal(packed(tmp_path / "d.zip", {"a.png": picture(4, 4), "b.png": picture(4, 5)}))
    assert error.code == "dataset_unreadable"
    assert "resize" in error.message


def test_a_sound_that_lies_about_its_length_is_refused(tmp_path: Path) -> None:
    honest = sound([1] * 100)
    cut = honest[:-50]
    longer = bytearray(honest)
    longer[40:44] = struct.pack("<I", 0xFFFFFFFE)
    real = bytearray(honest)
    real[20:22] = struct.pack("<H", 3)
    for content, says in ((cut, "says that it has 100 frames"), (bytes(longer), "lies"), (bytes(real), "no WAV")):
        error = refusal(
            packed(tmp_path / "d.zip", {"a.wav": honest, "b.wav": content, "preprocess.json": {"length": 9}})
        )
        assert error.code == "dataset_unreadable"
        assert says in error.message and "b.wav" in error.message


def test_sounds_of_another_rate_are_refused(tmp_path: Path) -> None:
    entries: dict[str, object] = {"a.wav": sound([1] * 9, rate=8000)}
    assert (
        "wants 16,000"
        in refusal(packed(tmp_path / "d.zip", entries | {"preprocess.json": {"sample_rate": 16_000}})).message
    )
    assert "different sample rates" in refusal(packed(tmp_path / "d.zip", entries | {"b.wav": sound([1] * 9)})).message


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({"a.png": picture(2, 2), "notes.txt": "x"}, "neither an image nor a WAV"),
        ({"a.png": picture(2, 2), "b.wav": sound([1])}, "both images and WAV"),
        ({"readme/": ""}, "no image and no WAV"),
        ({"a.png": picture(2, 2), "labels.csv": "a.png,1\n"}, "row of names"),
        ({"a.png": picture(2, 2), "labels.csv": "file,label\nb.png,1\n"}, "not in the archive"),
        ({"a.png": picture(2, 2), "labels.csv": "file,label\na.png,1\na.png,2\n"}, "a second time"),
        ({"a.png": picture(2, 2), "b.png": picture(2, 2), "labels.csv": "file,label\na.png,1\n"}, "have no row"),
        ({"a.png": picture(2, 2), "labels.csv": "file,label\n"}, "no rows"),
        ({"a.png": picture(2, 2), "labels.csv": b"file,label\n\xff\xfe,1\n"}, "no CSV in UTF-8"),
        ({"a.png": picture(2, 2), "labels.csv": "file,mask\na.png,m.png\n"}, "mask 'm.png'"),
        ({"a.png": picture(2, 2), "task.json": {"task": "detection"}}, "no annotations.json"),
        ({"a.png": b"\0" * 4_000_000}, "unpacks to"),
    ],
)
def test_lists_that_do_not_fit_are_refused_at_the_upload(entries: dict[str, object], says: str, tmp_path: Path) -> None:
    path = packed(tmp_path / "d.zip", entries)
    with pytest.raises(EngineError) as caught:
        read_dataset_header(path)
    assert caught.value.code == "dataset_unreadable"
    assert says in caught.value.message


@pytest.mark.parametrize(
    "boxes", ["[]", "{}", '{"images": [], "annotations": 3}', '{"images": [{"id": 1}]}', "{" * 9999]
)
def test_boxes_that_are_not_in_cocos_form_are_refused(boxes: str, tmp_path: Path) -> None:
    error = refusal(packed(tmp_path / "d.zip", {"a.png": picture(2, 2), "annotations.json": boxes}))
    assert error.code == "dataset_unreadable"
    assert "annotations.json" in error.message


def test_files_of_another_model_are_a_mismatch_that_names_both(tmp_path: Path) -> None:
    found = load_dataset(packed(tmp_path / "d.zip", {"a.png": picture(4, 4)}))
    with pytest.raises(EngineError) as caught:
        found.matched([Tensor(name="x", dtype="float32", shape=(1, 3, 8, 8))])
    assert caught.value.code == "dataset_mismatch"
    assert "[1, 3, 4, 4]" in caught.value.message and "[1, 3, 8, 8]" in caught.value.message


def test_what_file_managers_leave_behind_is_no_sample(tmp_path: Path) -> None:
    entries = {
        "a/x.png": picture(2, 2),
        "a/.DS_Store": b"x",
        "__MACOSX/a/._x.png": b"x",
        "a/labels.csv": "file,label\nx.png,4\n",
    }
    found = load_dataset(packed(tmp_path / "d.zip", entries))
    assert (found.samples, found.labels is not None and found.labels.tolist()) == (1, [4])
