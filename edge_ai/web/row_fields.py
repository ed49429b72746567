"""Fields that choose rows of the workspace. What they offer is read once, for the form, for its plan and for the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Generic, TypeVar

from django import forms
from django.db.models import Model as Row
from django.db.models import QuerySet

from accounts.models import User
from edge_ai.models import BenchmarkRun, Dataset, DeviceProfile

#: How many data sets and benchmarks a field offers; any other that the person sees may be named by the address, and is
#: offered as well. Devices are as many as the catalogue has, and some of one's own.
OFFERED = 50
DEVICES_OFFERED = 200
R = TypeVar("R", bound=Row)


@dataclass(frozen=True, kw_only=True)
class Offers:
    """What a form may be given to choose from: the devices in the catalogue's order, the newest data sets."""

    devices: Sequence[DeviceProfile]
    datasets: Sequence[Dataset]

    @classmethod
    def to(cls, user: User) -> Offers:
        """Read what a person sees. Two queries."""
        return cls(devices=list(seen_devices(user)[:DEVICES_OFFERED]), datasets=list(seen_datasets(user)[:OFFERED]))


def seen_devices(user: User) -> QuerySet[DeviceProfile]:
    """Return the devices that a person sees; the machine that the studio runs on comes first."""
    return DeviceProfile.objects.visible_to(user)


def seen_datasets(user: User) -> QuerySet[Dataset]:
    """Return the data sets that a person sees, the newest first."""
    return Dataset.objects.visible_to(user).order_by("-created_at")


class _Offered(forms.models.ModelChoiceIterator[Any]):
    """The rows that were read, where Django's own would read them again."""

    def __iter__(self) -> Iterator[Any]:
        if self.field.empty_label is not None:
            yield "", self.field.empty_label
        yield from self.offered()

    def offered(self) -> Iterator[Any]:
        """Yield the choices."""
        return map(self.choice, self.field.offered)  # type: ignore[attr-defined]  # a RowField's


class RowField(forms.ModelChoiceField[R], Generic[R]):
    """Chooses one row. What is sent is looked for among what is offered, and then among all that the person sees."""

    iterator = _Offered
    offered: Sequence[R] = ()
    #: How many of the newest rows are offered, where not all are.
    newest: int | None = None

    def offer(self, seen: QuerySet[R], rows: Sequence[R]) -> None:
        """Say which rows may be sent, and which are offered. Before the form's field is shown, which keeps its help."""
        self.queryset = seen
        self.offered = rows
        if len(rows) == self.newest:
            self.help_text = f"{self.help_text} Of more, the {self.newest} newest are offered.".strip()

    def offer_also(self, chosen: object) -> None:
        """Offer what is chosen, where it is not offered yet."""
        if chosen:
            with suppress(forms.ValidationError):
                row = self.to_python(chosen)
                if row is not None and row not in self.offered:
                    self.offered = [*self.offered, row]

    def to_python(self, value: Any) -> R | None:
        """Return the row."""
        row = next((row for row in self.offered if str(row.pk) == str(value)), None)
        return super().to_python(value) if row is None else row


class RowsField(forms.ModelMultipleChoiceField[R], Generic[R]):
    """Chooses rows, by the same rules; the page lists them itself."""

    offered: Sequence[R] = ()

    def offer(self, seen: QuerySet[R], rows: Sequence[R]) -> None:
        """Say which rows may be sent, and which are offered."""
        self.queryset = seen
        self.offered = rows

    def clean(self, value: Any) -> Any:
        """Return the rows."""
        wanted = {str(each) for each in value or ()}
        rows = [row for row in self.offered if str(row.pk) in wanted]
        return rows if rows and len(rows) == len(wanted) else super().clean(value)


class _GroupedDevices(_Offered):
    """Devices under the headings of their categories."""

    def offered(self) -> Iterator[Any]:
        devices: list[DeviceProfile] = list(self.field.offered)  # type: ignore[attr-defined]  # a RowField's
        order = {category: place for place, category in reversed(list(enumerate(d.category for d in devices)))}
        devices.sort(key=lambda device: order[device.category])
        for _, group in groupby(devices, key=lambda device: device.category):
            members = list(group)
            yield members[0].get_category_display(), [self.choice(device) for device in members]


class DeviceField(RowField[DeviceProfile]):
    """Chooses a device."""

    iterator = _GroupedDevices


class DatasetField(RowField[Dataset]):
    """Chooses a data set and says what each holds."""

    newest = OFFERED

    def label_from_instance(self, obj: Dataset) -> str:
        return f"{obj.name} · {obj.sample_count:,} samples{', labelled' if obj.has_labels else ''}"


class RunField(RowField[BenchmarkRun]):
    """Chooses an earlier benchmark."""

    newest = OFFERED

    def label_from_instance(self, obj: BenchmarkRun) -> str:
        return f"{obj.name} · {obj.p50_ms:.3g} ms" if obj.p50_ms is not None else obj.name
