"""Packages: what is in them, and that the same content gives the same bytes."""

import hashlib
import json
import os
import zipfile
from pathlib import Path

import onnx
import pytest

from edge_ai.engine.archives import check_archive
from edge_ai.engine.compress import cluster, prune
from edge_ai.engine.compress.package import MANIFEST, pack
from edge_ai.engine.errors import UserInputError
from tests.engine.graphs import dense_net, save


def test_a_package_holds_the_files_and_says_what_they_are(tmp_path: Path) -> None:
    small = cluster.apply(prune.apply(dense_net(), sparsity=0.8).model, size=16).model
    model = save(small, tmp_path / "variant.onnx")
    recipe = tmp_path / "recipe.json"
    recipe.write_text("{}")

    packed = pack({"variant.onnx": model, "recipe.json": recipe}, tmp_path / "p.zip", about={"precision": "fp32"})

    assert packed.raw_bytes == model.stat().st_size + 2
    assert packed.packed_bytes == (tmp_path / "p.zip").stat().st_size
    with zipfile.ZipFile(tmp_path / "p.zip") as archive:
        check_archive(archive, code="model_unsafe")
        assert archive.testzip() is None
        assert archive.namelist() == [MANIFEST, "recipe.json", "variant.onnx"]
        manifest = json.loads(archive.read(MANIFEST))
        onnx.checker.check_model(onnx.load_from_string(archive.read("variant.onnx")))
    assert manifest == packed.manifest
    assert manifest["about"] == {"precision": "fp32"}
    assert manifest["files"][1] == {
        "name": "variant.onnx",
        "bytes": model.stat().st_size,
        "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
    }


def test_order_and_times_do_not_matter(tmp_path: Path) -> None:
    files = {"b": tmp_path / "b", "a": tmp_path / "a"}
    for path in files.values():
        path.write_bytes(path.name.encode() * 3_000_000)
    one = pack(files, tmp_path / "one.zip")
    os.utime(files["a"], (1, 1))

    two = pack(dict(reversed(files.items())), tmp_path / "two.zip")

    assert one.path.read_bytes() == two.path.read_bytes()
    assert one.packed_bytes < one.raw_bytes / 100


@pytest.mark.parametrize("name", ["../a", "/a", "a//b", "a\\b", "C:a", "", "Manifest.json", "a\0"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"a")
    with pytest.raises(UserInputError) as refused:
        pack({name: path}, tmp_path / "p.zip")
    assert refused.value.code == "invalid_request"
    assert not (tmp_path / "p.zip").exists()
