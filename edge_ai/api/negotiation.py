"""How bodies are read and answers chosen."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import IO, Any, NoReturn

from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer, JSONRenderer

from edge_ai.engine import shallow
from edge_ai.engine.errors import UserInputError

#: Levels of lists and objects within each other. Nothing that is asked for needs more than a few.
MAX_DEPTH = 32


class ByAcceptHeader(DefaultContentNegotiation):
    """Chooses by the ``Accept`` header alone: here ``?format=`` filters models and does not choose a rendering."""

    def filter_renderers(self, renderers: Iterable[BaseRenderer], format: str) -> list[BaseRenderer]:
        """Leave the choice to the header."""
        return list(renderers)


class Places:
    """Words in an answer that JSON takes the place of, as the database wrote it, which is not read only to be written again."""

    def __init__(self) -> None:
        # Made anew for each answer, of so many random letters that nothing else in it is like them.
        self._mark = secrets.token_hex(16)
        self._texts: list[str] = []

    def put(self, text: str) -> str:
        """Return the word that stands for some JSON."""
        self._texts.append(text)
        return f"{self._mark}{len(self._texts) - 1}"

    def fill(self, body: bytes) -> bytes:
        """Return an answer's JSON with what the words in it stand for."""
        first, *others = body.split(f'"{self._mark}'.encode())
        filled = [first]
        for each in others:
            place, _, rest = each.partition(b'"')
            filled += [self._texts[int(place)].encode(), rest]
        return b"".join(filled)


class StudioJSONRenderer(JSONRenderer):
    """Puts JSON that the database wrote into the places that an answer has for it."""

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> Any:
        """Return the answer's bytes."""
        body = super().render(data, accepted_media_type, renderer_context)
        places: Places | None = getattr((renderer_context or {}).get("response"), "places", None)
        return body if places is None else places.fill(body)


class AnythingRenderer(JSONRenderer):
    """For addresses that answer with a redirect: whatever the client accepts will do."""

    media_type = "*/*"


class BoundedJSONParser(BaseParser):
    """JSON of at most ``DATA_UPLOAD_MAX_MEMORY_SIZE`` bytes, also where the view takes larger bodies as files."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return what the body holds."""
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        raw: bytes = stream.read(limit + 1)
        if len(raw) > limit:
            raise UserInputError(
                f"The JSON document is larger than {limit:,} bytes.", code="file_too_large", fix="Send a smaller one."
            )
        try:
            return shallow.loads(raw.decode(), most=MAX_DEPTH, parse_constant=_refuse_constant)
        except shallow.TooDeepError:
            raise ParseError(f"The JSON document is nested too deeply: more than {MAX_DEPTH} levels.") from None
        except ValueError as error:
            raise ParseError(f"The body is not valid JSON: {error}.") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")
