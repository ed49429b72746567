"""JSON that nests too deeply is refused, whatever the recursion limit is."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from edge_ai.engine import shallow

DEEP = "[" * 300_000
#: Brackets within texts are no levels, and quotes behind backslashes no ends.
SHALLOW = (
    '{"a": "[[[[[[", "b\\"[[[[[": [1, {"c": null}]}',
    '"\\\\[[[["',
    "[[], [], [], [], [], []]",
    '{"[[[[[[": {}}',
)


@pytest.mark.parametrize("text", SHALLOW)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_what_is_within_is_read_as_python_reads_it(text: str, encoding: str) -> None:
    if encoding == "utf-8":
        assert shallow.loads(text, most=3) == json.loads(text)
    assert shallow.loads(text.encode(encoding), most=3) == json.loads(text)


@pytest.mark.parametrize("text", ["[[[[]]]]", '{"a": [{"b": []}]}', DEEP, '{"a":' * 1000])
def test_what_is_deeper_is_refused(text: str) -> None:
    with pytest.raises(shallow.TooDeepError):
        shallow.loads(text, most=3)


@pytest.mark.parametrize("text", ["[1", "]", '"abc', '"abc\\', "", '{"a"}'])
def test_what_is_none_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        shallow.loads(text)


def test_a_limit_that_a_library_has_raised_does_not_end_the_process() -> None:
    code = (
        "import sys; sys.setrecursionlimit(2**31 - 1)\n"
        "from edge_ai.engine import shallow\n"
        "try: shallow.loads('[' * 1_000_000)\n"
        "except shallow.TooDeepError: print('refused')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "refused"), done.stderr[-500:]


def test_texts_without_an_end_are_gone_through_once() -> None:
    took = []
    for count in (20_000, 80_000):
        texts = ['"\\"' * count, '"' + "\\" * (3 * count), '"\\\\"a' * count]
        began = time.perf_counter()
        for text in texts:
            with pytest.raises(ValueError):
                shallow.loads(text)
        took.append(time.perf_counter() - began)
    assert took[1] < 12 * took[0]
