"""Where does this machine get its Debian packages from, and how is one more suite added?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

APT = Path("/etc/apt")
# Options of a source that say how it is trusted, and so go with the mirror to any further suite of it.
TRUST = ("signed-by", "trusted", "check-valid-until", "allow-insecure", "architectures")
_ONE_LINE = re.compile(r"^(?P<type>deb(?:-src)?)\s+(?:\[(?P<options>[^\]]*)\]\s*)?(?P<uri>\S+)\s+(?P<rest>.+)$")
_ONE_LINE_NAMES = {"arch": "architectures"}


@dataclass(frozen=True, slots=True)
class AptSource:
    """One place packages come from: mirrors, suites, components, and how it is trusted."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    trust: tuple[tuple[str, str], ...] = ()


def read_sources(folder: Path = APT) -> list[AptSource]:
    """Return every binary source apt reads, in apt's order."""
    found: list[AptSource] = []
    files = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]
    for path in files:
        if not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.suffix == ".list":
            found.extend(parse_one_line(text))
        elif path.suffix == ".sources":
            found.extend(parse_deb822(text))
    return found


def parse_one_line(text: str) -> Iterator[AptSource]:
    """Read `deb [options] uri suite component...` lines."""
    for line in text.splitlines():
        match = _ONE_LINE.match(line.split("#", 1)[0].strip())
        if match is None or match["type"] != "deb" or match["uri"].startswith("cdrom:"):
            continue
        suite, *components = match["rest"].split()
        pairs = [pair.partition("=") for pair in (match["options"] or "").split()]
        options = {_ONE_LINE_NAMES.get(name.lower(), name.lower()): value for name, _, value in pairs}
        options = {name: value.replace(",", " ") for name, value in options.items()}
        yield AptSource((match["uri"],), (suite,), tuple(components), _trust(options))


def parse_deb822(text: str) -> Iterator[AptSource]:
    """Read paragraphs of `Name: value`, where indented lines go on with the value (a key may stand there whole)."""
    text = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for paragraph in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in paragraph.splitlines():
            if line[:1] in (" ", "\t") and name:
                fields[name] += "\n" + line
            elif ":" in line:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in ("no", "false"):
            continue
        words = {key: tuple(fields.get(key, "").split()) for key in ("uris", "suites", "components")}
        yield AptSource(words["uris"], words["suites"], words["components"], _trust(fields))


def _trust(options: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((name, options[name]) for name in TRUST if options.get(name))


def find_distribution(sources: list[AptSource], codename: str) -> AptSource | None:
    """Return the source of the distribution itself: Debian's tree first, else whatever has the suite's `main`."""
    fitting = [source for source in sources if codename in source.suites and "main" in source.components]
    return next((source for source in fitting if _is_debian_tree(source)), fitting[0] if fitting else None)


def _is_debian_tree(source: AptSource) -> bool:
    return any(re.search(r"(^|[/.])debian(\.list)?/?$", uri) for uri in source.uris)


def write_suite(source: AptSource, suite: str, folder: Path = APT) -> list[Path]:
    """Add a suite of the same mirror, pinned so low that nothing else is ever taken from it."""
    sources = folder / "sources.list.d" / f"windrose-{suite}.sources"
    pin = folder / "preferences.d" / f"windrose-{suite}"
    pin.parent.mkdir(parents=True, exist_ok=True)
    pin.write_text(render_pin(suite), encoding="utf-8")
    sources.write_text(render_suite(source, suite), encoding="utf-8")
    return [pin, sources]


def render_suite(source: AptSource, suite: str) -> str:
    """Return the deb822 file that adds a suite."""
    fields = {"Types": "deb", "URIs": " ".join(source.uris), "Suites": suite, "Components": "main"}
    fields.update({name.title(): value for name, value in source.trust})
    return "".join(f"{name}: {value}\n" if value[:1] != "\n" else f"{name}:{value}\n" for name, value in fields.items())


def render_pin(suite: str) -> str:
    """Return the preferences file that keeps a suite from being used unless it is asked for."""
    return f"Package: *\nPin: release n={suite}\nPin-Priority: 100\n"
