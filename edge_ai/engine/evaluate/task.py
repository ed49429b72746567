"""How samples of a dataset become a model's inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_ai.engine.runtime.base import Tensor


def required_batch(inputs: Sequence[Tensor], arrays: Mapping[str, npt.NDArray[Any]]) -> int:
    """Return how many samples the model's shapes demand at once: 1 unless an input was exported with a larger batch."""
    for item in inputs:
        shape = item.shape or ()
        batched = len(shape) > 0 and arrays[item.name].ndim == len(shape)
        size = shape[0] if batched else None
        if isinstance(size, int) and size > 1:
            return size
    return 1


def feed_sample(
    inputs: Sequence[Tensor], arrays: Mapping[str, npt.NDArray[Any]], places: Sequence[int]
) -> dict[str, npt.NDArray[Any]]:
    """Return the inputs of one inference.

    Parameters
    ----------
    inputs
        What the model takes.
    arrays
        One array an input, whose first axis counts samples.
    places
        Which samples: one, or several for models that take batches.

    Returns
    -------
    dict
        Sample *i* of array *a* is ``a[i]`` when that has the rank of the input, else ``a[i:i+1]``, a batch of one;
        several are joined along the first axis. An input without axes takes the value of the first sample.
    """
    feed: dict[str, npt.NDArray[Any]] = {}
    for item in inputs:
        array = arrays[item.name]
        # Of any rank: what the data set has is right.
        rank = array.ndim if item.shape is None else len(item.shape)
        if array.ndim - 1 != rank:
            feed[item.name] = np.ascontiguousarray(array[list(places)])
        elif rank == 0:
            feed[item.name] = np.asarray(array[places[0]])
        else:
            feed[item.name] = np.concatenate([array[place] for place in places])
    return feed
