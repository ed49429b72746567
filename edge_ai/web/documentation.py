"""The documentation as pages: what lies in ``docs/`` as Markdown, rendered once per process, and found by its words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.conf import settings
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from mdit_py_plugins.anchors import anchors_plugin
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

# What is read first stands first; a page that no group names comes last.
GROUPS = (
    ("Start here", ("getting-started", "concepts", "lists", "workspaces", "members", "quotas")),
    ("Optimize", ("formats", "routes", "options", "datasets", "batches", "caching", "bundles")),
    ("Measure", ("measuring", "comparing", "sharing", "diagnoses", "estimates", "history")),
    ("Automate", ("api", "endpoints", "client", "ci-gate", "webhooks", "uploads", "imports", "errors")),
    (
        "Run a studio",
        (
            *("self-hosting", "operations", "settings", "signing-in", "commands", "security", "sandbox"),
            *("feature-flags", "permissions", "audit", "audit-actions", "telemetry", "telemetry-events"),
        ),
    ),
)
OTHER_GROUP = "More"
# These have an address of their own below /docs/.
RESERVED = frozenset({"search"})
MAX_QUERY_CHARACTERS = 100
MAX_FOUND = 30
SNIPPET_CHARACTERS = 180
# What the generated files hold for readers of the files themselves: a note on their origin, and anchors.
_MARKS = re.compile(r"<!--.*?-->\n*|^<a id=\"[a-z_]+\"></a>\n*", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Heading:
    """A heading below the title, for the table of contents."""

    anchor: str
    text: str
    level: int


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading and the plain text below it: what the search finds."""

    anchor: str
    title: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """One Markdown file as a page."""

    name: str
    title: str
    description: str
    html: SafeString
    headings: Sequence[Heading]
    sections: Sequence[Section]


@dataclass(frozen=True, kw_only=True)
class Found:
    """A section in which every word of a search occurs."""

    page: Page
    section: Section
    snippet: SafeString
    score: int


def _code(content: str, language: str, attributes: str) -> str:
    """Colour code by classes; a language that nobody knows stays plain text."""
    del attributes
    try:
        lexer = get_lexer_by_name(language)
    except ClassNotFound:
        return escape(content)
    return str(highlight(content, lexer, HtmlFormatter(nowrap=True, classprefix="hl-")))


def address_of(href: str, names: frozenset[str]) -> str | None:
    """Return where a link of the Markdown leads on the site; ``None`` for a file that is not shown there."""
    if href.startswith(("https://", "http://", "mailto:", "#", "/")):
        return href
    file, _, anchor = href.partition("#")
    name = file.removeprefix("./").removesuffix(".md")
    if not file.endswith(".md") or name not in names:
        return None
    return f"/docs/{name}/" + (f"#{anchor}" if anchor else "")


def _lead_links(state: StateCore) -> None:
    """Let links between files lead from page to page, and take links to files that are no pages out of the text."""
    names = state.env["names"]
    for block in state.tokens:
        withdrawn = False
        for token in block.children or ():
            if token.type == "link_open":
                address = address_of(str(token.attrGet("href") or ""), names)
                withdrawn = address is None
                token.attrs = {} if address is None else {"href": address, "class": "link"}
            if token.type in {"link_open", "link_close"} and withdrawn:
                token.tag = "span"


def _table_open(renderer: Any, tokens: Sequence[Token], place: int, options: Any, environment: Any) -> str:
    environment["tables"] = environment.get("tables", 0) + 1
    label = f"Table {environment['tables']}"
    return f'<div class="panel table-box" tabindex="0" role="region" aria-label="{label}"><table class="data">\n'


def _table_close(renderer: Any, tokens: Sequence[Token], place: int, options: Any, environment: Any) -> str:
    return "</table></div>\n"


def _fence(renderer: Any, tokens: Sequence[Token], place: int, options: Any, environment: Any) -> str:
    token = tokens[place]
    words = token.info.split()
    environment["codes"] = environment.get("codes", 0) + 1
    body = _code(token.content, words[0] if words else "", "")
    return f'<pre tabindex="0" role="region" aria-label="Code {environment["codes"]}"><code>{body}</code></pre>\n'


@cache
def _markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table").use(anchors_plugin, max_level=4)
    markdown.core.ruler.push("lead_links", _lead_links)
    for rule, write in (
        ("table_open", _table_open),
        ("table_close", _table_close),
        ("fence", _fence),
        ("code_block", _fence),
    ):
        markdown.add_render_rule(rule, write)
    return markdown


def _plain(token: Token) -> str:
    """Return the words of an inline token, without its marks."""
    return "".join(" " if each.type.endswith("break") else each.content for each in token.children or ())


def read_page(name: str, source: str, names: frozenset[str]) -> Page:
    """Make a page of a Markdown file's text."""
    markdown = _markdown()
    environment: dict[str, Any] = {"names": names}
    source = _MARKS.sub("", source)
    tokens = markdown.parse(source, environment)
    title, description = name, ""
    headings: list[Heading] = []
    sections: list[Section] = []
    anchor, heading, words = "", name, list[str]()
    for place, token in enumerate(tokens):
        if token.type == "heading_open":
            if words:
                sections.append(Section(anchor=anchor, title=heading, text=" ".join(words)))
            heading, anchor, words = _plain(tokens[place + 1]), str(token.attrGet("id") or ""), []
            level = int(token.tag[1])
            if level == 1:
                title = heading
            elif level <= 3:
                headings.append(Heading(anchor=anchor, text=heading, level=level))
        elif token.type == "inline" and tokens[place - 1].type != "heading_open":
            words.append(_plain(token))
            if not description and tokens[place - 1].type == "paragraph_open":
                description = words[-1]
        elif token.type in {"fence", "code_block"}:
            words.append(token.content)
    sections.append(Section(anchor=anchor, title=heading, text=" ".join(words)))
    return Page(
        name=name,
        title=title,
        description=_shortened(description),
        html=mark_safe(markdown.renderer.render(tokens, markdown.options, environment)),  # noqa: S308 - HTML in Markdown is off
        headings=tuple(headings),
        sections=tuple(sections),
    )


def _shortened(text: str) -> str:
    """Return what of a paragraph fits into a description: whole sentences, else whole words."""
    if len(text) <= SNIPPET_CHARACTERS:
        return text
    cut = text[:SNIPPET_CHARACTERS]
    sentence = cut.rfind(". ")
    return cut[: sentence + 1] if sentence > 0 else cut[: cut.rfind(" ")] + " …"


@cache
def pages() -> dict[str, Page]:
    """Return every page by its name, in the order of reading."""
    files = {each.stem: each for each in sorted((settings.BASE_DIR / "docs").glob("*.md")) if each.stem not in RESERVED}
    ordered = [name for _, names in GROUPS for name in names if name in files]
    ordered += [name for name in files if name not in ordered]
    names = frozenset(files)
    return {name: read_page(name, files[name].read_text(encoding="utf-8"), names) for name in ordered}


@cache
def groups() -> tuple[tuple[str, tuple[Page, ...]], ...]:
    """Return the navigation: groups of pages."""
    left = dict(pages())
    made = [(title, tuple(left.pop(name) for name in names if name in left)) for title, names in GROUPS]
    return tuple((title, members) for title, members in [*made, (OTHER_GROUP, tuple(left.values()))] if members)


def neighbours(name: str) -> tuple[Page | None, Page | None]:
    """Return the pages before and after this one."""
    ordered = list(pages().values())
    place = [each.name for each in ordered].index(name)
    return (ordered[place - 1] if place else None, ordered[place + 1] if place + 1 < len(ordered) else None)


def _snippet(text: str, words: Sequence[str]) -> SafeString:
    """Return the text around the first hit, escaped, with every word that was looked for marked."""
    folded = text.lower()
    first = min((at for at in (folded.find(word) for word in words) if at >= 0), default=0)
    start = max(0, first - SNIPPET_CHARACTERS // 3)
    if start:
        start = text.find(" ", start, first + 1) + 1 or start
    cut = text[start : start + SNIPPET_CHARACTERS]
    found = re.split("(" + "|".join(re.escape(word) for word in words) + ")", cut, flags=re.IGNORECASE)
    marked = "".join(f"<mark>{escape(part)}</mark>" if place % 2 else escape(part) for place, part in enumerate(found))
    return mark_safe(("… " if start else "") + marked + (" …" if start + len(cut) < len(text) else ""))  # noqa: S308 - escaped above


def search(query: str) -> list[Found]:
    """Return the sections that hold every word, the best first: a word in a title counts more than one in the text."""
    words = list(dict.fromkeys(query[:MAX_QUERY_CHARACTERS].lower().split()))
    if not words:
        return []
    found: list[Found] = []
    for page in pages().values():
        for section in page.sections:
            title, heading, text = page.title.lower(), section.title.lower(), section.text.lower()
            if not all(word in text or word in heading or word in title for word in words):
                continue
            if not any(word in text or word in heading for word in words):
                continue
            score = sum(8 * (word in heading) + 4 * (word in title) + min(text.count(word), 5) for word in words)
            found.append(Found(page=page, section=section, snippet=_snippet(section.text, words), score=score))
    return sorted(found, key=lambda each: -each.score)[:MAX_FOUND]
