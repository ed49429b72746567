"""What a data set's labels mean: its ``task.json``. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edge_ai.engine.dataset_json import Fields

TASK_FILE: Final = "task.json"
CLASSIFICATION, REGRESSION, SEGMENTATION, CTC, DETECTION = TASKS = (
    "classification",
    "regression",
    "segmentation",
    "ctc",
    "detection",
)
BOX_FORMS: Final = ("xyxy", "yxyx", "xywh", "cxcywh")
FIELDS: Final = (
    *("task", "output", "classes", "charset", "blank", "ignore"),
    *("boxes", "scores", "ids", "box_form", "normalized", "categories"),
)


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """What the labels mean, and which outputs are held against them.

    Parameters
    ----------
    task
        One of `TASKS`.
    output
        Name of the output with the answer; ``None``: the first that fits.
    classes
        Names of the classes in the model's order.
    charset, blank
        Of ``ctc``: the symbols but the blank in the model's order, and the blank's place; -1: the last.
    ignore
        Of ``segmentation``: the class of pixels that do not count.
    boxes, scores, ids
        Of ``detection``: names of the outputs with the boxes, their scores and their classes.
    box_form, normalized
        How boxes are answered, one of `BOX_FORMS`, and whether as shares of the input's width and height.
    categories
        Ids of the categories in the model's order.
    """

    task: str
    output: str | None = None
    classes: tuple[str, ...] | None = None
    charset: tuple[str, ...] = ()
    blank: int = 0
    ignore: int = 255
    boxes: str | None = None
    scores: str | None = None
    ids: str | None = None
    box_form: str = "xyxy"
    normalized: bool = False
    categories: tuple[int, ...] = ()


def read_task(text: bytes | str) -> TaskSpec:
    """Read a ``task.json``.

    Raises
    ------
    UserInputError
        ``task_invalid`` naming the field.
    """
    given = Fields.read(text, file=TASK_FILE, code="task_invalid")
    task = given.choice("task", TASKS, None)
    charset = given.take("charset")
    if isinstance(charset, list) and all(isinstance(symbol, str) and symbol for symbol in charset):
        symbols = tuple(charset)
    elif isinstance(charset, str) or charset is None:
        symbols = tuple(charset or "")
    else:
        raise given.refuse("must have a text, or a list of texts, for “charset”")
    if len(set(symbols)) != len(symbols):
        raise given.refuse("has a symbol twice in “charset”")
    if task == CTC and not symbols:
        raise given.refuse(
            "needs a “charset” for ctc: the symbols in the order of the model's scores, without the blank"
        )
    blank = given.take("blank")
    places = {None: 0, "first": 0, "last": -1}
    if isinstance(blank, bool) or not (isinstance(blank, int) or blank is None or isinstance(blank, str)):
        raise given.refuse("must have first, last or a place for “blank”")
    if isinstance(blank, int):
        if not 0 <= blank <= len(symbols):
            raise given.refuse(f"has {str(blank)[:20]} for “blank”, and there are {len(symbols) + 1} symbols")
    elif blank in places:
        blank = places[blank]
    else:
        raise given.refuse("must have first, last or a place for “blank”")
    ignore = given.integer("ignore", -(1 << 31), 1 << 31)
    found = TaskSpec(
        task=task,
        output=given.text("output"),
        classes=given.texts("classes"),
        charset=symbols,
        blank=blank,
        ignore=255 if ignore is None else ignore,
        boxes=given.text("boxes"),
        scores=given.text("scores"),
        ids=given.text("ids"),
        box_form=given.choice("box_form", BOX_FORMS, "xyxy"),
        normalized=given.flag("normalized"),
        categories=given.whole_numbers("categories") or (),
    )
    named = [name for name in (found.boxes, found.scores, found.ids) if name is not None]
    if 0 < len(named) < 3:
        raise given.refuse("must name all of “boxes”, “scores” and “ids”, or none of them")
    given.done(FIELDS)
    return found
