"""Recipes: written, read back, refused where they would not be followed, and held against what is installed."""

import json
from importlib.metadata import version
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_ai.engine.errors import UserInputError
from edge_ai.engine.options import OptimizeOptions
from edge_ai.engine.recipe import (
    MAX_RECIPE_CHARACTERS,
    differences,
    read_recipe,
    spec_fields,
    to_json,
    to_yaml,
)
from edge_ai.engine.spec import Format, OptimizationLevel, OptimizeSpec, Precision

LAYERS = [{"name": "conv: 1", "sparsity": 0.5}]


def recipe() -> dict[str, Any]:
    return {
        "recipe_version": 1,
        "route": ["onnx"],
        "steps": [
            {"step": "prune", "settings": {"method": "2:4"}, "layers": LAYERS, "note": "Größe – no\nspeed: #1"},
            {"step": "quantize", "layers": LAYERS, "sqnr_db": 1e-5, "failure": None, "chosen": True},
        ],
        "request": {
            "source_format": "onnx",
            "target_format": "onnx",
            "precision": "int8",
            "optimization_level": "balanced",
        },
        "options": {"seed": 7, "prune": "2:4", "exclude_layers": ["Softmax", "no"], "per_channel": None},
        "versions": {"onnx": "1.23.2", "numpy": "2.4"},
        "hashes": {"source_sha256": "0" * 64, "dataset_sha256": None, "variant_sha256": "1e" * 32},
    }


@pytest.mark.parametrize("write", [to_json, to_yaml])
def test_what_is_written_is_read_back(write: Any) -> None:
    text = write(recipe())
    assert read_recipe(text) == recipe()
    assert text.isascii()
    assert "&id" not in text


@pytest.mark.parametrize("write", [to_json, to_yaml])
def test_the_order_of_fields_does_not_change_the_text(write: Any) -> None:
    assert write(dict(reversed(recipe().items()))) == write(recipe())


@settings(max_examples=60, deadline=None)
@given(
    step=st.dictionaries(
        st.text(max_size=8),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(2**63), 2**63)
            | st.floats(allow_nan=False, allow_infinity=False)
            # A text cannot say half a character or a byte of a terminal's.
            | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8),
            lambda inner: st.lists(inner, max_size=3),
            max_leaves=6,
        ),
        max_size=4,
    )
)
def test_json_and_yaml_say_the_same_of_any_step(step: dict[str, Any]) -> None:
    whole = recipe() | {"steps": [step]}
    assert read_recipe(to_json(whole)) == read_recipe(to_yaml(whole))


def test_a_recipe_gives_the_request_that_it_was_made_of() -> None:
    spec = OptimizeSpec(model_path="model.onnx", **spec_fields(read_recipe(to_yaml(recipe()))))
    assert (spec.source_format, spec.target_format) == (Format.ONNX, Format.ONNX)
    assert (spec.precision, spec.optimization_level) == (Precision.INT8, OptimizationLevel.BALANCED)
    options = OptimizeOptions.read(spec.options)
    assert (options.seed, options.prune, options.exclude_layers) == (7, "2:4", ("Softmax", "no"))


def test_a_recipe_written_by_hand_needs_only_what_is_asked_for() -> None:
    text = """
    recipe_version: 1
    request: {source_format: onnx, target_format: onnx, precision: fp32, optimization_level: size}
    options: {cluster: 16}
    """
    read = read_recipe(text)
    assert read["options"] == {"cluster": 16}
    assert read["hashes"] == {"source_sha256": None, "dataset_sha256": None, "variant_sha256": None}
    assert (read["steps"], read["versions"], read["route"]) == ([], {}, [])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"recipe_version": 2}, "recipe.recipe_version"),
        ({"recipe_version": True}, "recipe.recipe_version"),
        ({"recipe_version": None}, "recipe.recipe_version"),
        ({"magic": 1}, "recipe.magic"),
        ({"request": {}}, "recipe.request.source_format"),
        ({"request": recipe()["request"] | {"precision": "int7"}}, "recipe.request.precision"),
        ({"request": recipe()["request"] | {"precision": ["int8"]}}, "recipe.request.precision"),
        ({"request": recipe()["request"] | {"device": "phone"}}, "recipe.request.device"),
        ({"request": "onnx"}, "recipe.request"),
        ({"options": {"sped": 1}}, "options.sped"),
        ({"options": {"seed": -1}}, "options.seed"),
        ({"options": []}, "recipe.options"),
        ({"steps": "all"}, "recipe.steps"),
        ({"steps": [1]}, "recipe.steps"),
        ({"route": [1]}, "recipe.route"),
        ({"versions": {"../x": "1"}}, "recipe.versions"),
        ({"versions": {"onnx": 1.2}}, "recipe.versions"),
        ({"hashes": {"source_sha256": "abc"}}, "recipe.hashes.source_sha256"),
        ({"hashes": {"source_md5": None}}, "recipe.hashes.source_md5"),
    ],
)
@pytest.mark.parametrize("write", [to_json, to_yaml])
def test_what_would_not_be_followed_is_refused_by_name(change: dict[str, Any], field: str, write: Any) -> None:
    with pytest.raises(UserInputError) as refused:
        read_recipe(write(recipe() | change))
    assert (refused.value.code, refused.value.field) == ("invalid_request", field)
    assert refused.value.fix


@pytest.mark.parametrize(
    "text",
    [
        "",
        "just words",
        "- a\n- list",
        "{",
        '{"recipe_version": 1, "recipe_version": 1}',
        '{"recipe_version": NaN}',
        "recipe_version: 1\nrecipe_version: 1",
        "recipe_version: !!python/object/apply:os.system [id]",
        "a: &x [1]\nrecipe_version: *x",
        "[" * 500_000,
        "recipe_version: " + "{a: " * 100_000,
        '{"a":' * 20_000,
        "recipe_version: 1\n\x00",
        "? [a, b]\n: 1",
        "{1: 2}",
        "recipe_version: 1\n2: 3",
        "a: 2001-99-99",
        "x" * (MAX_RECIPE_CHARACTERS + 1),
        '{"recipe_version": 1' + "0" * 10_000 + "}",
    ],
)
def test_what_is_no_recipe_is_refused_in_words(text: str) -> None:
    with pytest.raises(UserInputError) as refused:
        read_recipe(text)
    assert refused.value.code == "invalid_request"
    assert str(refused.value.field).startswith("recipe")
    assert "Traceback" not in refused.value.message


def test_values_that_json_cannot_say_are_refused() -> None:
    text = yaml.safe_dump(recipe() | {"steps": [{"sqnr_db": float("inf")}]})
    with pytest.raises(UserInputError) as refused:
        read_recipe(text)
    assert refused.value.field == "recipe.steps"
    with pytest.raises(ValueError, match="JSON compliant"):
        to_json({"sqnr_db": float("nan")})


def test_libraries_of_other_versions_are_named() -> None:
    read = read_recipe(json.dumps(recipe() | {"versions": {"onnx": "1.23.2", "numpy": "2.4", "old": "1"}}))
    assert differences(read, {"onnx": "1.23.2", "numpy": "2.5"}) == [
        "The recipe was made with numpy 2.4; here it is 2.5.",
        "The recipe was made with old 1, which is not installed here.",
    ]
    assert differences(read, read["versions"]) == []


def test_versions_are_those_that_are_installed_where_none_are_given() -> None:
    here = recipe() | {"versions": {"numpy": version("numpy"), "no-such-library": "1"}}
    assert differences(here) == ["The recipe was made with no-such-library 1, which is not installed here."]
