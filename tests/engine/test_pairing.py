"""Which tensor of a variant is which of its source, and what its integers stand for."""

import numpy as np
import pytest

from edge_ai.engine.errors import UnsupportedError
from edge_ai.engine.evaluate.pairing import pair, to_answer, to_input, to_real, translate
from edge_ai.engine.runtime.base import Tensor


def tensor(name: str, *shape: int | str | None, dtype: str = "float32", scale: float | None = None) -> Tensor:
    return Tensor(name=name, dtype=dtype, shape=shape, scale=scale, zero_point=None if scale is None else 3)


def test_names_count_before_places() -> None:
    source = [tensor("a", 1, 4), tensor("b", 1, 4)]
    assert pair(source, [tensor("b", 1, 4), tensor("a", 1, 4)]) == {"a": "a", "b": "b"}


def test_what_converters_add_to_names_does_not_count() -> None:
    source = [tensor("in-put.1", None, 4), tensor("state", 2, 8)]
    variant = [tensor("serving_default_state:0", 2, 8), tensor("serving_default_in_put_1:0", 1, 4)]
    assert pair(source, variant) == {"in-put.1": "serving_default_in_put_1:0", "state": "serving_default_state:0"}


def test_renamed_tensors_are_paired_by_rank_and_fixed_sizes() -> None:
    source = [tensor("image", "n", 3, 8, 8), tensor("scale", 1)]
    assert pair(source, [tensor("in1", 1), tensor("in0", 1, 3, 8, 8)]) == {"image": "in0", "scale": "in1"}


def test_a_tensor_that_the_variant_lacks_is_named() -> None:
    with pytest.raises(UnsupportedError, match="'state'") as caught:
        pair([tensor("x", 1, 4), tensor("state", 2, 8)], [tensor("x", 1, 4)])
    assert caught.value.code == "unsupported_conversion"


def test_real_numbers_become_the_integers_that_stand_for_them_and_back() -> None:
    item = tensor("x", 4, dtype="int8", scale=0.5)
    real = np.array([0.0, 1.0, -1.25, 1e9], np.float32)
    integers = to_input(real, item)
    assert integers.dtype == np.int8 and integers.tolist() == [3, 5, 1, 127]
    assert to_real(integers, item).tolist() == [0.0, 1.0, -1.0, 62.0]


def test_integers_of_the_source_become_what_the_variant_takes() -> None:
    ours, theirs = [tensor("x", 2, dtype="int8", scale=0.5)], [tensor("x", 2)]
    feed = translate({"x": np.array([3, 5], np.int8)}, {"x": "x"}, ours, theirs)
    assert feed["x"].dtype == np.float32 and feed["x"].tolist() == [0.0, 1.0]
    plain = translate({"x": np.array([3, 5], np.int8)}, {"x": "x"}, ours, [tensor("x", 2, dtype="int8")])
    assert plain["x"].tolist() == [3, 5]


def test_answers_in_integers_are_read_as_the_source_would() -> None:
    quantized, plain = tensor("y", 1, dtype="int8", scale=0.25), tensor("y", 1, dtype="int8")
    answer = np.array([7], np.int8)
    assert to_answer(answer, tensor("y", 1), quantized).tolist() == [1.0]
    assert to_answer(answer, quantized, plain).tolist() == [1.0]
    assert to_answer(answer, plain, plain).tolist() == [7]
