"""Regular expressions against text that keeps a careless one busy: four times the text may take little more time than that.

Every expression that stands in the code is taken, and fed with what it repeats, without the end that it waits for.
"""

from __future__ import annotations

import ast
import re
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import sre_constants as constants
    import sre_parse as parser

ROOMS = ("accounts", "config", "edge_ai", "client")
FLAGS = {
    "VERBOSE": re.VERBOSE,
    "X": re.VERBOSE,
    "IGNORECASE": re.IGNORECASE,
    "I": re.IGNORECASE,
    "MULTILINE": re.MULTILINE,
}
#: These read what comes with the studio, and nothing of anybody else's.
OUR_OWN_TEXT = ("edge_ai/web/documentation.py",)
METHODS = {"match", "fullmatch", "search", "sub", "split", "findall", "finditer"}
#: Twice these, an expression that tries every way takes a thousand times as long and is found by a clock of any kind.
SHORT, LONG = 22, 1000
#: Quadratic is sixteen; below a few milliseconds nobody is kept waiting, however it grows.
MOST, FLOOR_SECONDS = 9.0, 0.02


def expressions() -> Iterator[tuple[str, str, int, set[str]]]:
    """Every literal expression of the code, with where it stands, its flags, and what is done with it."""
    root = Path(settings.BASE_DIR)
    for room in ROOMS:
        sources = {
            path: path.read_text()
            for path in sorted((root / room).rglob("*.py"))
            if "migrations" not in path.parts and ".venv" not in path.parts
        }
        everything = "\n".join(sources.values())
        for path, source in sources.items():
            tree = ast.parse(source)
            named = {
                id(node.value): target.id
                for node in ast.walk(tree)
                if isinstance(node, ast.Assign | ast.AnnAssign)
                for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
                if isinstance(target, ast.Name)
            }
            node: Any
            for node in ast.walk(tree):
                if not _of_re(node):
                    continue
                pattern = _literal(node.args[0])
                if pattern is None:
                    continue
                said = {ast.unparse(each) for each in (*node.args[1:], *(k.value for k in node.keywords))}
                flags = sum(value for name, value in FLAGS.items() if f"re.{name}" in said)
                used = {node.func.attr}
                if node.func.attr == "compile":
                    name = named.get(id(node), "")
                    used = set(re.findall(rf"\b{name}\.(\w+)", everything)) & METHODS if name else set()
                yield f"{path.relative_to(root)}:{node.lineno}", pattern, flags, used or {"search", "fullmatch"}


def _literal(node: ast.expr) -> str | None:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return None
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _of_re(node: Any) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "re"
        and node.func.attr in METHODS | {"compile"}
        and bool(node.args)
    )


def fitting(tokens: Any) -> str:
    """The shortest text that a part of an expression takes, roughly."""
    text = ""
    for kind, what in tokens:
        if kind == constants.LITERAL:
            text += chr(what)
        elif kind in {constants.NOT_LITERAL, constants.ANY}:
            text += "a"
        elif kind == constants.IN:
            text += _one_of(what)
        elif kind in {constants.MAX_REPEAT, constants.MIN_REPEAT}:
            text += fitting(what[2]) * min(what[0], 70)
        elif kind == constants.SUBPATTERN:
            text += fitting(what[3])
        elif kind == constants.BRANCH:
            text += fitting(what[1][0])
    return text


def _one_of(members: Any) -> str:
    samples = {constants.CATEGORY_DIGIT: "0", constants.CATEGORY_SPACE: " ", constants.CATEGORY_WORD: "a"}
    for kind, what in members:
        if kind == constants.LITERAL:
            return chr(what)
        if kind == constants.RANGE:
            return chr(what[0])
        if kind == constants.CATEGORY:
            return samples.get(what, "a")
    return "a"


def repeats(tokens: Any, before: str = "") -> Iterator[tuple[str, str]]:
    """What leads to each repetition of an expression, and what it repeats."""
    for place, (kind, what) in enumerate(tokens):
        lead = before + fitting(list(tokens)[:place])
        if kind in {constants.MAX_REPEAT, constants.MIN_REPEAT}:
            yield lead, fitting(what[2])
            yield from repeats(what[2], lead)
        elif kind == constants.SUBPATTERN:
            yield from repeats(what[3], lead)
        elif kind == constants.BRANCH:
            for each in what[1]:
                yield from repeats(each, lead)


def hostile(pattern: str, flags: int) -> set[tuple[str, str]]:
    parsed: Any = parser.parse(pattern, flags)
    tokens = list(parsed)
    found = set(repeats(tokens)) | {
        ("", each) for each in ("a", "0", " ", "_", "/", ".", "-", "<", "(", "\n", "a.", "/a")
    }
    whole = fitting(tokens)
    return {(lead, pump) for lead, pump in found if pump} | ({("", whole), ("", whole[:-1])} - {("", "")})


def seconds(compiled: re.Pattern[str], used: set[str], text: str) -> float:
    best = 9.0
    for _ in range(3):
        began = time.thread_time()
        if used - {"match", "fullmatch"}:
            compiled.sub("", text)
        else:
            compiled.match(text)
            compiled.fullmatch(text)
        best = min(best, time.thread_time() - began)
        if best < FLOOR_SECONDS:
            break
    return best


def faults_of(pattern: str, flags: int, used: set[str]) -> Iterator[str]:
    compiled = re.compile(pattern, flags)
    for lead, pump in sorted(hostile(pattern, flags)):
        for end in ("\x00", "!", ""):
            little, some, much = (lead + pump * max(1, size // len(pump)) + end for size in (SHORT, LONG, 4 * LONG))
            if seconds(compiled, used, little) > FLOOR_SECONDS:
                yield f"{pump!r} × {SHORT}: every way is tried"
                return
            took = seconds(compiled, used, much)
            if took > FLOOR_SECONDS and took > MOST * seconds(compiled, used, some):
                yield f"{lead!r} + {pump[:40]!r} …: {took:.3f} s for {4 * LONG}"
                return


def test_no_expression_is_kept_busy() -> None:
    every = list(expressions())
    assert len(every) > 50
    found = [
        f"{where} {pattern[:60]!r} {fault}"
        for where, pattern, flags, used in every
        if not where.startswith(OUR_OWN_TEXT)
        for fault in faults_of(pattern, flags, used)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("careless", [r"(a+)+$", r"(?:x|x)*y", r"\s+\S+\s+$"])
def test_this_test_would_notice(careless: str) -> None:
    assert list(faults_of(careless, 0, {"search"}))
