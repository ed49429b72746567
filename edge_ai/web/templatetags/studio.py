"""What templates need: numbers and times in words, icons, status badges, form controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django import forms, template
from django.template.context import Context
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.browsers import browser_name
from edge_ai.engine.errors import CODES
from edge_ai.services.sandboxes import Host, unheld
from edge_ai.web import compared, hidden, measured, wording
from edge_ai.web.listing import Listing

register = template.Library()

# Icon, colour and word of each status. Analysis states of models share the colours of jobs.
STATUSES: dict[str, tuple[str, str, str]] = {
    "pending": ("clock", "text-neutral", "Pending"),
    "queued": ("clock", "text-neutral", "Queued"),
    "running": ("spinner", "text-info", "Running"),
    "completed": ("check", "text-success", "Completed"),
    "failed": ("cross", "text-error", "Failed"),
    "cancelled": ("ban", "text-warning", "Cancelled"),
    "uploaded": ("clock", "text-neutral", "Uploaded"),
    "analyzing": ("spinner", "text-info", "Analyzing"),
    "ready": ("check", "text-success", "Ready"),
    "archived": ("artifact", "text-neutral", "Archived"),
    "sending": ("spinner", "text-info", "Sending"),
    "delivered": ("check", "text-success", "Delivered"),
}
CONTROLS: tuple[tuple[type[forms.Widget], str], ...] = (
    (forms.CheckboxInput, "checkbox"),
    (forms.FileInput, "file-input"),
    (forms.Textarea, "textarea"),
    (forms.Select, "select"),
    (forms.Widget, "input"),
)


def _number(value: object) -> float | None:
    """What a template gives for a value that is not there is an empty string."""
    return value if isinstance(value, (int, float)) else None


register.filter("browser_name", browser_name)


@register.simple_tag
def icon(name: str, extra: str = "") -> SafeString:
    """An icon of the sprite, hidden from screen readers: words stand beside it."""
    return format_html(
        '<svg class="icon {}" aria-hidden="true"><use href="{}#{}"></use></svg>',
        extra,
        static("img/icons.svg"),
        name,
    )


@register.simple_tag
def unheld_hosts() -> list[Host]:
    """Hosts whose jobs nothing holds, for the banner that staff see; one query."""
    return unheld()


@register.simple_tag
def status_badge(status: str) -> SafeString:
    """A status as icon and word in its colour."""
    symbol, colour, word = STATUSES.get(status, ("info", "text-neutral", status.replace("_", " ").capitalize()))
    return format_html(
        '<span class="status {}">{}{}</span>', colour, icon(symbol, "turning" if symbol == "spinner" else ""), word
    )


# Icon and colour of an answer to "can this be made?"; the words stand beside, or are read out.
ANSWERS: dict[str, tuple[str, str, str]] = {
    "works": ("check", "text-success", "works"),
    "needs_dataset": ("dataset", "text-info", "needs a data set"),
    "refused": ("cross", "text-muted", "refused"),
}


@register.simple_tag
def answer_mark(status: str, words: str) -> SafeString:
    """Whether something can be made, as icon and word; what the icon means is said to screen readers."""
    symbol, colour, meaning = ANSWERS[status]
    said = "" if words == meaning else format_html('<span class="sr-only"> {}</span>', meaning)
    return format_html('<span class="status {}">{}{}{}</span>', colour, icon(symbol), words, said)


@register.filter
def megabytes(value: object) -> SafeString:
    """A size in MB, with the exact bytes on hover."""
    size_bytes = _number(value)
    return format_html(
        '<span class="num whitespace-nowrap" title="{}">{}</span>',
        wording.exact_bytes(size_bytes),
        wording.megabytes(size_bytes),
    )


@register.filter
def latency(value: object) -> SafeString:
    """A latency in ms with three significant digits, and more of them on hover."""
    latency_ms = _number(value)
    title = "not measured" if latency_ms is None else f"{latency_ms:.6f} ms"
    return format_html('<span class="num whitespace-nowrap" title="{}">{}</span>', title, wording.latency(latency_ms))


@register.filter
def since(moment: object) -> SafeString | str:
    """A time in words, with the exact time on hover."""
    if not isinstance(moment, datetime):
        return wording.UNKNOWN
    return format_html(
        '<time class="whitespace-nowrap" datetime="{}" title="{}">{}</time>',
        moment.isoformat(),
        wording.exact_time(moment),
        wording.relative_time(moment, timezone.now()),
    )


@register.filter
def clock(moment: datetime) -> SafeString:
    """The time of day, with the date on hover, for logs."""
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        moment.isoformat(),
        wording.exact_time(moment),
        moment.strftime("%H:%M:%S"),
    )


@register.filter
def short_hash(digest: str | None) -> SafeString | str:
    """The beginning of a hash, with the whole on hover."""
    if not digest:
        return wording.UNKNOWN
    return format_html('<span class="num" title="{}">{}</span>', digest, wording.short_hash(digest))


@register.filter
def metric(name: str | None) -> str:
    """What a figure of accuracy is called."""
    return wording.metric(name)


@register.filter
def metric_value(value: object, name: str) -> str:
    """A figure of accuracy as one writes it."""
    return wording.metric_value(_number(value), name)


@register.filter
def points(value: object) -> str:
    """A difference of percentages, with its sign."""
    number = _number(value)
    return wording.UNKNOWN if number is None else f"{number:+.2f}".replace("-", "−")


@register.filter
def precision(name: str | None) -> str:
    """How a model's numbers are kept, in the words that a variant is asked for with."""
    return wording.precision(name)


@register.filter
def big_count(value: object) -> SafeString:
    """A count with a prefix, with the exact number on hover."""
    number = _number(value)
    title = "not known" if number is None else f"{number:,.0f}"
    return format_html('<span class="num whitespace-nowrap" title="{}">{}</span>', title, wording.count(number))


@register.filter
def significant(value: object, digits: int = 3) -> str:
    """A number with so many significant digits."""
    return wording.significant(_number(value), digits)


@register.filter
def quantity(value: object) -> str:
    """A published number as it is."""
    return wording.quantity(_number(value))


@register.filter
def memory(memory_mb: int | None) -> str:
    """A device's memory."""
    return wording.memory(memory_mb)


@register.filter
def percent(share: object, digits: int = 1) -> str:
    """A fraction of 1 in percent."""
    return wording.percent(_number(share), digits)


@register.filter
def duration(seconds: object) -> str:
    """A stretch of time in words."""
    return wording.duration(_number(seconds))


@register.filter
def shape(axes: Sequence[object] | None) -> str:
    """A tensor's shape."""
    return wording.shape(axes)


@register.filter
def quantization(scale_and_zero: Mapping[str, object]) -> str:
    """What the integers of a tensor stand for."""
    return wording.quantization(scale_and_zero)


register.simple_tag(compared.front_words)


register.simple_tag(hidden.model_name)
register.simple_tag(hidden.model_link)
register.simple_tag(hidden.device_name)
register.simple_tag(hidden.device_link)


@register.simple_tag
def size_ratio(before: object, after: object) -> str:
    """By how much a file became smaller."""
    return wording.size_ratio(_number(before), _number(after))


@register.simple_tag
def speed_ratio(before_ms: object, after_ms: object) -> str:
    """By how much a model became faster."""
    return wording.speed_ratio(_number(before_ms), _number(after_ms))


@register.simple_tag
def verdict_words(pair: Mapping[str, Any]) -> str:
    """What a comparison found of a pair, in two or three words."""
    return measured.gain_words(pair)


register.filter("times", measured.times)
register.filter("times_interval", measured.times_interval)


@register.filter
def change(delta: object) -> str:
    """A relative difference with its sign."""
    return compared.change(_number(delta))


@register.filter
def accuracy_points(delta: object, name: str = "") -> str:
    """A difference of accuracies with its sign."""
    return compared.points(_number(delta), name or "")


@register.filter
def up_to(number: int, most: int) -> str:
    """Write a number that was counted no further than ``most``."""
    return f"more than {most:,}" if number > most else f"{number:,}"


@register.filter
def item(mapping: Mapping[Any, Any] | None, key: Any) -> Any:
    """One value of a mapping, ``None`` where it is absent: keys of results are not always names."""
    return None if mapping is None else mapping.get(key)


@register.filter
def code_title(code: str) -> str:
    """What an error code is called in words."""
    known = CODES.get(code)
    return known.title if known else code.replace("_", " ").capitalize()


@register.filter
def control(field: forms.BoundField) -> SafeString:
    """A form field's control in the studio's look."""
    widget = field.field.widget
    name = next(name for kind, name in CONTROLS if isinstance(widget, kind))
    known = widget.attrs.get("class", "")
    wrong = f"{name}-error" if field.errors else ""
    return field.as_widget(attrs={"class": " ".join(filter(None, (name, known, wrong)))})


@register.simple_tag(takes_context=True)
def query(context: Context, **changes: Any) -> str:
    """The page's own query string with some parameters changed; ``None`` removes one."""
    parameters = context["request"].GET.copy()
    for name, value in changes.items():
        parameters.pop(name, None)
        if value not in (None, ""):
            parameters[name] = str(value)
    encoded = parameters.urlencode()
    return f"?{encoded}" if encoded else "?"


@register.inclusion_tag("parts/column.html", takes_context=True)
def column(context: Context, name: str, title: str, align: str = "") -> dict[str, Any]:
    """A table heading that sorts by its column, and the other way round when it is pressed again."""
    listing: Listing = context["listing"]
    descending = listing.ordering == f"-{name}"
    return {
        "name": name,
        "title": title,
        "align": align,
        "address": listing.link(ordering=name if descending else f"-{name}"),
        "sorted": "descending" if descending else "ascending" if listing.ordering == name else "",
        "symbol": "sort-down" if descending else "sort-up",
    }


# Section, address, icon, word, and the key that leads there after "g". The first four also stand in the bar at the bottom
# of a phone.
NAVIGATION: tuple[tuple[str, str, str, str, str], ...] = (
    ("overview", "edge_ai:overview", "overview", "Overview", "o"),
    ("model", "edge_ai:model-list", "model", "Models", "m"),
    ("job", "edge_ai:job-list", "job", "Jobs", "j"),
    ("benchmark", "edge_ai:benchmark-list", "benchmark", "Benchmarks", "b"),
    ("comparison", "edge_ai:comparison-list", "compare", "Compare", "c"),
    ("dataset", "edge_ai:dataset-list", "dataset", "Data sets", "t"),
    ("device", "edge_ai:device-list", "device", "Devices", "d"),
    ("artifact", "edge_ai:artifact-list", "artifact", "Artifacts", "a"),
    ("api", "accounts:api-key-list", "settings", "Settings", "s"),
)
# Pages whose address does not begin with their section's name.
_SECTION_OF = {
    **dict.fromkeys(("optimization-create", "benchmark-create"), "model"),
    **dict.fromkeys(("webhook", "audit", "member", "ownership", "invitation", "workspace"), "api"),
    **dict.fromkeys(("share", "account", "session", "usage"), "api"),
    **{"diagnosis": "job", "run": "comparison", "batch": "job"},
}


@register.inclusion_tag("parts/navigation.html", takes_context=True)
def navigation(context: Context, place: str) -> dict[str, Any]:
    """The way to every section; ``place`` is ``side``, ``dock`` or ``keys``, the list of keys that lead there."""
    request = context.get("request")
    match = getattr(request, "resolver_match", None)
    name = (match.url_name or "") if match else ""
    current = _SECTION_OF.get(name, name.partition("-")[0])
    current = _SECTION_OF.get(current, current)
    entries = [
        {"address": address, "icon": symbol, "word": word, "key": key, "current": section == current}
        for section, address, symbol, word, key in NAVIGATION
    ]
    return {
        "place": place,
        "entries": entries,
        "first": entries[:4],
        "rest": entries[4:],
        "rest_current": any(entry["current"] for entry in entries[4:]),
    }
