"""Where a value of secrets.yaml comes from: the file itself, ${NAME}, another file, a command."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from scripts import process
from scripts.errors import KitError
from scripts.platforms.credentials import Credential, ways
from scripts.platforms.findings import Findings
from scripts.platforms.plan import PhraseSource
from scripts.platforms.yaml_reader import MAX_BYTES, Place

# The platform's own shell fills these in, not this machine.
REMOTE = ("preamble", "environment", "scratch")
FREE_TEXT = ("preamble", "environment", "description", "extra")
COMMAND_SECONDS = 60
_NAMED = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$\{")
_FAKE_WORDS = ("(fill)", "REPLACE-ME")
_BLANK = re.compile(r"<[^<>\s][^<>]*>")


class Unusable(Exception):
    """A value cannot be had: what is wrong and the mend."""

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(problem, fix)
        self.problem, self.fix = problem, fix


@dataclass(frozen=True, slots=True)
class Resolved:
    """A secret that was found, and where."""

    source: PhraseSource
    value: SecretStr | None  # None: neither a command nor the environment was asked
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What values may refer to."""

    folder: Path  # of secrets.yaml
    environment: Mapping[str, str]
    ask: bool = True  # whether commands are run, and the environment is asked for secrets


def fill(tree: object, place: Place, findings: Findings, surroundings: Surroundings) -> object:
    """Return the tree with ${NAME} replaced; note names that are not set, and fake values left in."""
    if isinstance(tree, dict):
        return {key: fill(value, (*place, key), findings, surroundings) for key, value in tree.items()}
    if isinstance(tree, list):
        return [fill(value, (*place, position), findings, surroundings) for position, value in enumerate(tree)]
    if not isinstance(tree, str):
        return tree
    # A plan that is only looked at needs the platforms' names and addresses, from whatever shell.
    is_filled = not is_remote(place) and (surroundings.ask or place[:1] == ("platforms",))
    try:
        text = replace_names(tree, surroundings.environment) if is_filled else tree
        refuse_fake(text, anywhere=place[:1] == ("platforms",) and not {*place[3:4]}.intersection(FREE_TEXT))
    except Unusable as error:
        findings.add(place, error.problem, error.fix)
        return tree
    return text


def is_remote(place: Place) -> bool:
    """Say whether a place of the file belongs to the platform's shell."""
    return place[:1] == ("platforms",) and not {*place[3:4]}.isdisjoint(REMOTE)


def replace_names(text: str, environment: Mapping[str, str]) -> str:
    """Return a text with each ${NAME} replaced from the environment; `$${` stands for `${`."""

    def value(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        name = match[1]
        if name is None:
            raise Unusable("has a ${ that begins no ${NAME}", "write $${ where ${ itself is meant")
        # A name in another spelling may be a piece of a password.
        named = f"${{{name}}}" if name.isupper() else "a ${NAME}"
        if name not in environment:
            raise Unusable(f"names {named} that is not in the environment", "export it, or write $${ for a literal ${")
        if has_surrogates(environment[name]):
            raise Unusable(f"names {named} whose value is not UTF-8 text", "export it as UTF-8")
        return environment[name]

    return _NAMED.sub(value, text)


def has_surrogates(text: str) -> bool:
    """Say whether a text holds bytes that are no UTF-8: Python keeps those of the environment so."""
    return any("\ud800" <= sign <= "\udfff" for sign in text)


def refuse_fake(text: str, *, anywhere: bool = False) -> None:
    """Raise where a value is still the example's; `<word>` may be part of a secret, so there it must be all of it."""
    is_blank = _BLANK.search(text) if anywhere else _BLANK.fullmatch(text.strip())
    if is_blank or any(word in text for word in _FAKE_WORDS):
        raise Unusable("is not filled in", "write your own value, or delete what you do not use")


def find_secrets(
    credential: Credential, place: Place, findings: Findings, surroundings: Surroundings
) -> dict[str, Resolved]:
    """Return each secret of a credential by its name; note what keeps one from being found."""
    found = {}
    for secret in choose_secrets(credential, place, findings):
        given = given_ways(credential, secret)
        if not given and secret in credential.optional:
            continue
        if len(given) != 1:
            problem = f"gives {' and '.join(given)}" if given else f"gives no {secret}"
            findings.add(place, problem, f"write one of {', '.join(ways(secret))}")
            continue
        here = (*place, given[0])
        try:
            found[secret] = resolve(credential, given[0], findings.document.written(here) or "", surroundings)
        except Unusable as error:
            findings.add(here, error.problem, error.fix)
    return found


def choose_secrets(credential: Credential, place: Place, findings: Findings) -> tuple[str, ...]:
    """Return the secrets that a credential has to give: those of the one alternative that it uses."""
    used = [names for names in credential.alternatives if any(given_ways(credential, name) for name in names)]
    if len(used) > 1:
        findings.add(place, f"gives both {' and '.join(names[0] for names in used)}", "delete one of them")
        return ()
    return (used or [*credential.alternatives, ()])[0]


def given_ways(credential: Credential, secret: str) -> list[str]:
    """Return the keys by which a secret is given."""
    return [key for key in ways(secret) if key in credential.model_fields_set]


def resolve(credential: Credential, key: str, written: str, surroundings: Surroundings) -> Resolved:
    """Find one secret the way that its key says."""
    value = getattr(credential, key)
    if key.endswith("_file"):
        path = find_file(value, surroundings.folder)
        return Resolved("file", checked_secret(read_secret(path), "its file"), path)
    if key.endswith("_command"):
        text = run_command(value, surroundings) if surroundings.ask else None
        return Resolved("command", None if text is None else checked_secret(text, "what its command printed"))
    source: PhraseSource = "environment" if any(match[1] for match in _NAMED.finditer(written)) else "literal"
    if source == "environment" and not surroundings.ask:
        return Resolved(source, None)
    return Resolved(source, checked_secret(value.get_secret_value(), "its value"))


def checked_secret(text: str, what: str) -> SecretStr:
    """Return a text as a secret, if it is one."""
    if not text:
        raise Unusable(f"is not usable: {what} is empty", "put the secret there")
    # An undecodable byte that a command printed arrives as U+FFFD.
    if "\0" in text or "\ufffd" in text:
        raise Unusable(f"is not usable: {what} is not text", "put the secret there")
    refuse_fake(text)
    return SecretStr(text)


def find_file(written: str, folder: Path) -> Path:
    """Return the absolute path of a file named in secrets.yaml: `~` is known, others lie beside secrets.yaml."""
    try:
        return folder.absolute() / Path(written).expanduser()
    except RuntimeError as error:
        raise Unusable("begins with a ~ that stands for no user's home", "write the whole path") from error


def read_bytes(path: Path) -> bytes:
    """Return what is in a file that secrets.yaml names."""
    try:
        if not path.exists():
            raise Unusable("names a file that does not exist", "correct the path, or make the file")
        if not path.is_file():
            raise Unusable("names no file", "name a file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError):
        raise Unusable("names a file that you cannot read", "correct its owner or its mode") from None
    if not content:
        raise Unusable("names an empty file", "put into it what it is for")
    if len(content) > MAX_BYTES:
        raise Unusable(f"names a file of more than {MAX_BYTES // 1000} kB", "name the right file")
    return content


def read_secret(path: Path) -> str:
    """Return a file's text without the line end that editors leave."""
    try:
        return without_line_end(read_bytes(path).decode("utf-8"))
    except UnicodeDecodeError:
        raise Unusable("names a file that is not UTF-8 text", "name the right file") from None


def run_command(written: str, surroundings: Surroundings) -> str:
    """Return what a command prints; what it says of its own failure may hold a secret and is not shown."""
    try:
        argv = shlex.split(written)
    except ValueError:
        raise Unusable("has a quote that is not closed", "write it as you would in a shell") from None
    if not argv:
        raise Unusable("is empty", "write a command")
    try:
        done = process.run(
            argv,
            environment=surroundings.environment,
            folder=surroundings.folder,
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except KitError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise Unusable("names a program that is not on PATH", "install it, or write its path") from None
        raise Unusable(f"gave no answer within {COMMAND_SECONDS} s", "unlock what it asks, then try again") from None
    except (OSError, ValueError):
        raise Unusable("names a program that cannot be started", "correct the command") from None
    if done.code != 0:
        raise Unusable(f"ended with exit code {done.code}", "run it by hand to see why")
    return without_line_end(done.stdout)


def without_line_end(text: str) -> str:
    """Return a text without one line end at its end."""
    return text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")
