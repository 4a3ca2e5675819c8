"""What is wrong in a file, collected so that all of it is told at once: lines and names, never a value."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from scripts.errors import KitError, Problems
from scripts.platforms.credentials import Strict
from scripts.platforms.fields import ID
from scripts.platforms.models import keys_of, known_words
from scripts.platforms.yaml_reader import Document, Place

Model = TypeVar("Model", bound=Strict)

# How many parts of a place are names that people choose; those behind them must be words of the schema to be shown.
CHOSEN_NAMES = {"platforms": (1, 2), "connections": (2,), "raw": (1,), "variables": (1,), "pools": (1,)}
EMPTY = ("is empty", "write a value, or delete the line")
_WORDS = known_words()


class Findings:
    """The problems and warnings of one file."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[tuple[int, KitError]] = []
        self.warnings: list[str] = []
        self._places: set[Place] = set()
        self._above: set[Place] = set()  # each of them and all above it

    def add(self, place: Place, problem: str, fix: str) -> None:
        """Note a problem of what stands at a place."""
        self.add_error(place, KitError(self.where(place), f"{shown(place)} {problem}".lstrip(), fix))

    def add_error(self, place: Place, error: KitError) -> None:
        """Note a problem of a place in the words of who found it."""
        self._places.add(place)
        self._above.update(place[:length] for length in range(len(place) + 1))
        self.problems.append((self.document.line(place), error))

    def where(self, place: Place) -> str:
        """Return the file and the line of a place."""
        return f"{self.document.name} line {self.document.line(place)}"

    def touches(self, place: Place) -> bool:
        """Say whether something at this place or below it is wrong."""
        return place in self._above

    def raise_all(self) -> None:
        """Raise everything that was noted, by line; return where that is nothing."""
        if self.problems:
            raise Problems([error for _, error in sorted(self.problems, key=lambda noted: noted[0])])

    def check(self, model: type[Model], data: object, place: Place) -> Model | None:
        """Return the data as a model, or note everything that keeps it from being one."""
        if not isinstance(data, dict):
            self.add(place, *(EMPTY if data is None else ("is not a mapping", "write `key: value` lines below it")))
            return None
        try:
            return model.model_validate(data)
        except ValidationError as error:
            for found in error.errors(include_url=False, include_context=True):
                self._translate(model, found, place)
            return None

    def _translate(self, model: type[Model], found: ErrorDetails, place: Place) -> None:
        here = place + found["loc"]
        if here in self._places:
            return  # what is wrong with the value already is why it does not fit
        kind, context = found["type"], found.get("ctx", {})
        if kind == "extra_forbidden":
            self.add_unknown_key(here, keys_of(model))
        elif kind == "missing":
            field = next(f for name, f in model.model_fields.items() if found["loc"][-1] in (name, f.alias))
            self.add(here, "is missing", f"add it ({field.description})")
        elif kind == "value_error":
            self.add(here, "is not usable", f"write {context['error']}")
        elif kind == "literal_error":
            self.add(here, "is not usable", f"write one of {context['expected']}".replace("'", ""))
        elif found["input"] is None:
            self.add(here, *EMPTY)
        else:
            self.add(here, "is not usable", f"write {SHAPES.get(kind, 'a single value')}")

    def add_unknown_key(self, place: Place, known: Iterable[str]) -> None:
        """Note a key that is not taken; what resembles no key may be a value in the wrong place and is not shown."""
        names = list(known)
        key = str(place[-1])
        near = nearest(key, names)
        where = shown(place[:-1])
        inside = f"in {where}" if where else "at the top"
        is_likeness = bool(nearest(key, names, likeness=0.7))
        problem = f"{key} is no key here ({inside})" if is_likeness else f"has a key {inside} that is not known"
        fix = f"did you mean {near}?" if near else f"take of {', '.join(names)}"
        self.add_error(place, KitError(self.where(place), problem, fix))


SHAPES = {"list_type": "a list such as [one, two]", "dict_type": "`name: value` lines below it"}


def nearest(word: str, known: Iterable[str], *, likeness: float = 0.6) -> str:
    """Return the known word that another one was probably meant to be, '' for none."""
    return next(iter(difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=likeness)), "")


def shown(place: Place) -> str:
    """Return a place as dotted names, as far as they are names: a value in the wrong place is left out."""
    chosen = CHOSEN_NAMES.get(str(place[0]), ()) if place else ()
    names = []
    for position, part in enumerate(place):
        is_name = position in chosen and isinstance(part, str) and ID.fullmatch(part) is not None
        if not is_name and part not in _WORDS:
            break
        names.append(str(part))
    return ".".join(names)
