"""The options of an optimization: each declared once, checked by its own rule."""

from dataclasses import fields
from typing import Any

import pytest

from edge_ai.engine.errors import UserInputError
from edge_ai.engine.options import OptimizeOptions, option_rules


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("accuracy_budget", 1.5),
        ("accuracy_budget", float("nan")),
        ("accuracy_budget", True),
        ("accuracy_budget", None),
        ("calibration_samples", 0),
        ("calibration_samples", 2.5),
        ("calibration_method", "median"),
        ("percentile", 80),
        ("per_channel", "yes"),
        ("exclude_layers", "conv1"),
        ("exclude_layers", [""]),
        ("exclude_layers", ["x"] * 201),
        ("block_size", 31),
        ("cluster", True),
        ("cluster", 17),
        ("prune", "1:4"),
        ("sparsity", 1.0),
        ("fp16_mode", "half"),
        ("simplify", 1),
        ("surprise", 1),
    ],
)
def test_a_wrong_value_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(UserInputError) as caught:
        OptimizeOptions.read({name: value})
    assert (caught.value.code, caught.value.field) == ("invalid_request", f"options.{name}")
    assert caught.value.fix


def test_what_json_can_say_is_taken() -> None:
    given = OptimizeOptions.read(
        {"exclude_layers": ["conv1", "Softmax"], "per_channel": None, "cluster": 16, "prune": "2:4", "percentile": 99}
    )
    assert given.exclude_layers == ("conv1", "Softmax")
    assert given.compresses
    assert not OptimizeOptions.read({}).compresses


def test_every_option_has_a_rule_that_its_default_keeps() -> None:
    assert list(option_rules()) == [item.name for item in fields(OptimizeOptions)]
    for name, rule in option_rules().items():
        rule.check(name, getattr(OptimizeOptions(), name))
        assert rule.title and rule.help.endswith(".")
