"""The #SBATCH lines of a batch script: read as sbatch reads them, joined, written so that nothing slips in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

MARK = "#SBATCH"
NAME = re.compile(r"[a-z][a-z0-9-]*")
PLAIN = re.compile(r"[A-Za-z0-9_./:,=+@%*\[\]{}-]+")  # no sign that sbatch reads as a quote, a blank or a comment
# A word may hold blanks where they are quoted; a backslash outside of quotes keeps no blank.
WORD = re.compile(r"""(?:"(?:\\.|[^"\\])*"?|'(?:\\.|[^'\\])*'?|\\\S|[^\s"'\\]|\\(?=\s|$))+""")
# Short options that take a value; those of FLAGS take none.
SHORT = {
    "A": "account",
    "a": "array",
    "b": "begin",
    "D": "chdir",
    "M": "clusters",
    "C": "constraint",
    "S": "core-spec",
    "c": "cpus-per-task",
    "d": "dependency",
    "m": "distribution",
    "e": "error",
    "x": "exclude",
    "B": "extra-node-info",
    "G": "gpus",
    "i": "input",
    "J": "job-name",
    "L": "licenses",
    "F": "nodefile",
    "w": "nodelist",
    "N": "nodes",
    "n": "ntasks",
    "o": "output",
    "p": "partition",
    "q": "qos",
    "t": "time",
}
SHORT_FLAGS = {
    "H": "hold",
    "h": "help",
    "k": "no-kill",
    "O": "overcommit",
    "s": "oversubscribe",
    "Q": "quiet",
    "v": "verbose",
    "V": "version",
    "W": "wait",
}
# Long options without a value, and those whose value only stands behind an equals sign.
FLAGS = {
    *SHORT_FLAGS.values(),
    "contiguous",
    "exclusive",
    "get-user-env",
    "ignore-pbs",
    "nice",
    "no-requeue",
    "oom-kill-step",
    "parsable",
    "propagate",
    "reboot",
    "requeue",
    "resv-ports",
    "spread-job",
    "stepmgr",
    "test-only",
    "usage",
    "use-min-nodes",
}
# Names that getopt completes where they are cut short; what is not among them stays as it is.
KNOWN = {
    *SHORT.values(),
    *FLAGS,
    *"cpus-per-gpu deadline export gpus-per-node gpus-per-task gres hint mail-type mail-user mem mem-per-cpu".split(),
    *"mem-per-gpu ntasks-per-core ntasks-per-gpu ntasks-per-node ntasks-per-socket open-mode reservation".split(),
    *"signal threads-per-core time-min tmp tres-per-task wckey wrap comment priority profile switches".split(),
}
# Only one of each group: a later one puts the earlier out.
EXCLUSIVE = (
    {"mem", "mem-per-cpu", "mem-per-gpu"},
    {"requeue", "no-requeue"},
    {"exclusive", "oversubscribe"},
)
REFUSED = {
    "wait": "sbatch would wait for the job's end",
    "wrap": "write the command into `command`",
    "test-only": "nothing would be submitted",
    "clusters": "a job is watched on the cluster that its platform names; make the other one a platform of its own",
    "help": "nothing would be submitted",
    "usage": "nothing would be submitted",
    "version": "nothing would be submitted",
    "uid": "jobs run as the login that submits them",
    "gid": "jobs run as the login that submits them",
}

Options = dict[str, str | None]  # name without dashes: value, None for an option without one


class ScriptError(ValueError):
    """Something a batch script cannot be made of, told in a sentence."""


def one_line(value: str, what: str) -> str:
    """Return a text that may stand in a line; refuse line breaks and other control characters."""
    for sign in value:
        if not sign.isprintable() and sign != "\t":
            raise ScriptError(f"{what}: there is a line break or control character in {value[:60]!r}; remove it.")
    return value


def leading(script: str) -> list[str]:
    """Return a script's own #SBATCH lines: sbatch reads no further than the first command."""
    found = []
    for line in script.split("\n"):
        if line.strip() and not line.startswith("#"):
            break
        if line.startswith(MARK):
            found.append(line.removeprefix(MARK))
    return found


def words(line: str) -> list[str]:
    """Split what stands behind #SBATCH as sbatch does: quotes, backslashes, and comments behind a `#`."""
    found = []
    for match in WORD.finditer(line):
        if match[0].startswith("#"):
            break
        text, hash_sign, _ = without_quotes(match[0])
        found.append(text)
        if hash_sign:
            break
    return found


def without_quotes(word: str) -> tuple[str, bool, str]:
    """Return a word as it is meant, and whether a comment begins in it; the last is the quote that is still open."""
    text, quote, escaped = "", "", False
    for sign in word:
        if escaped:
            text, escaped = text + sign, False
        elif sign == "\\":
            escaped = True
        elif sign in "\"'" and quote in ("", sign):
            quote = "" if quote else sign
        elif sign == "#" and not quote:
            return text, True, quote
        else:
            text += sign
    return text, False, quote


def parse(given: Sequence[str], where: str) -> Options:
    """Return the options that words such as `-N`, `2` and `--mem=4G` come to."""
    options: Options = {}
    rest = list(given)
    while rest:
        word = rest.pop(0)
        if word.startswith("--") and len(word) > 2:
            put(options, *long_option(word[2:], rest, where))
        elif len(word) > 1 and word[0] == "-" and word[1] in SHORT:
            if not word[2:] and not rest:
                raise ScriptError(f"{where}: there is no value behind {word}.")
            put(options, SHORT[word[1]], word[2:].removeprefix("=") or rest.pop(0))
        elif len(word) > 1 and word[0] == "-" and set(word[1:]) <= set(SHORT_FLAGS):
            for letter in word[1:]:
                put(options, SHORT_FLAGS[letter], None)
        elif word in ("hetjob", "packjob"):
            raise ScriptError(f"{where}: jobs of several parts ({word}) are not supported; submit one job a part.")
        else:
            raise ScriptError(f"{where}: sbatch takes no {word[:60]!r} here; write --name=value.")
    return options


def long_option(text: str, rest: list[str], where: str) -> tuple[str, str | None]:
    """Return the name and the value of `name=value`, or of `name` and the word behind it, which is taken."""
    name, equals, value = text.partition("=")
    name = full_name(name, where)
    if equals:
        return name, value
    if name not in FLAGS and rest and not rest[0].startswith("-"):
        return name, rest.pop(0)
    return name, None


def full_name(name: str, where: str) -> str:
    """Return an option's whole name: getopt takes a beginning that only one option has."""
    if not NAME.fullmatch(name):
        raise ScriptError(f"{where}: {name[:60]!r} is no option of sbatch; write --name=value.")
    if name in KNOWN:
        return name
    meant = [known for known in KNOWN if known.startswith(name)]
    return meant[0] if len(meant) == 1 else name


def put(options: Options, name: str, value: str | None) -> None:
    """Set an option; those that exclude it go."""
    for group in EXCLUSIVE:
        if name in group:
            for other in group:
                options.pop(other, None)
    options.pop(name, None)
    options[name] = value


def merged(*sources: Options) -> Options:
    """Return all options together, later sources before earlier ones."""
    together: Options = {}
    for source in sources:
        for name, value in source.items():
            put(together, name, value)
    return together


def own_options(script: str) -> Options:
    """Return the options of a script's own #SBATCH lines."""
    where = f"the script's {MARK} lines"
    return merged(*(parse(words(line), where) for line in leading(script)))


def extra_options(extra: Mapping[str, object] | Iterable[str] | None) -> Options:
    """Return the options of `extra_directives`: a dict of names and values, or a list of `--name=value`."""
    where = "extra_directives"
    if extra is None or extra == "":
        return {}
    if isinstance(extra, str):
        extra = [line for line in extra.splitlines() if line.strip()]
    if not isinstance(extra, Mapping):
        lines = [str(line).strip().removeprefix(MARK).strip() for line in extra]
        return merged(*(parse(words(one_line(with_dashes(line), where)), where) for line in lines))
    options: Options = {}
    for key, value in extra.items():
        name = str(key).lstrip("-")
        name = SHORT.get(name) or SHORT_FLAGS.get(name) or full_name(name, where)
        if value is None or value is False:
            continue
        put(options, name, None if value is True else one_line(str(value), f"{where}: {name}"))
    return options


def with_dashes(line: str) -> str:
    """Return a directive with its dashes, where somebody left them out."""
    return line if line.startswith("-") or not line else f"--{line}"


def check(options: Options) -> None:
    """Refuse options under which a job could not be found again, or none would be submitted."""
    for name in options:
        if name in REFUSED:
            raise ScriptError(f"--{name} cannot be used: {REFUSED[name]}.")


def lines(options: Options) -> list[str]:
    """Return the #SBATCH lines."""
    return [f"{MARK} --{name}" + ("" if value is None else f"={quoted(value)}") for name, value in options.items()]


def quoted(value: str) -> str:
    """Return a value as sbatch reads it back: its quotes hold blanks together, its backslash works inside them, too."""
    if PLAIN.fullmatch(value):
        return value
    return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'
