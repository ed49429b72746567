"""Which shapes of streams and threads are tried for throughput."""

import pytest

from edge_ai.engine.measure.saturation import shapes_for


@pytest.mark.parametrize(
    ("processors", "shapes"),
    [
        (1, [(1, 1)]),
        (2, [(1, 1), (2, 1), (1, 2)]),
        (4, [(1, 1), (2, 1), (4, 1), (1, 2), (2, 2), (1, 4)]),
        (6, [(1, 1), (2, 1), (4, 1), (6, 1), (1, 2), (2, 2), (3, 2), (1, 4), (1, 6)]),
    ],
)
def test_powers_of_two_up_to_the_processors(processors: int, shapes: list[tuple[int, int]]) -> None:
    assert shapes_for(processors, None) == shapes


def test_no_shape_has_more_threads_than_processors() -> None:
    for processors in range(1, 65):
        for streams, threads in shapes_for(processors, None):
            assert streams * threads <= processors


def test_with_threads_asked_for_only_the_streams_vary() -> None:
    assert shapes_for(8, 2) == [(1, 2), (2, 2), (4, 2)]
    assert shapes_for(2, 4) == [(1, 4)]


def test_a_slow_model_is_tried_at_the_ends_only() -> None:
    assert shapes_for(8, None, slow=True) == [(1, 8), (8, 1)]
    assert shapes_for(8, 2, slow=True) == [(1, 2), (4, 2)]
