"""The batch script that a cluster gets: directives, the exit record, and the person's own script or command in it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from windrose.slurm import directives
from windrose.slurm.directives import Options, ScriptError, merged, one_line
from windrose.slurm.model import Platform
from windrose.slurm.resources import Resources, elements

__all__ = ["Container", "Resources", "ScriptError", "Work", "array_of", "elements", "normal", "render"]

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
JOB_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
HERE = "{folder}"  # put in by the cluster when it submits: a path of plain signs only
# A second job of the same task, should there ever be one, ends here before it does anything: the first that starts, or
# that the submit wrote down, is the one. Slurm starts a job again under the same id after a requeue, and that goes on.
BEGIN = """\
readonly windrose_folder='{folder}' windrose_id="${SLURM_ARRAY_JOB_ID:-${SLURM_JOB_ID:-}}"
readonly windrose_element="${SLURM_ARRAY_TASK_ID:-0}"
export WINDROSE_FOLDER="$windrose_folder"
if [ -n "$windrose_id" ]; then
  if [ ! -e "$windrose_folder/id" ]; then
    printf '%s\\n' "$windrose_id" > "$windrose_folder/.id.$windrose_id.$windrose_element"
    ln "$windrose_folder/.id.$windrose_id.$windrose_element" "$windrose_folder/id" 2>/dev/null \\
      || mv -n "$windrose_folder/.id.$windrose_id.$windrose_element" "$windrose_folder/id"
    rm -f "$windrose_folder/.id.$windrose_id.$windrose_element"
  fi
  read -r windrose_first < "$windrose_folder/id" || windrose_first=
  if [ -n "$windrose_first" ] && [ "$windrose_first" != "$windrose_id" ]; then
    echo "windrose: job $windrose_first was submitted for the same task; job $windrose_id does nothing" >&2
    exit 1
  fi
fi
if [ -e "$windrose_folder/cancelled" ]; then
  echo "windrose: the job was cancelled before it started" >&2
  exit 1
fi
rm -f "$windrose_folder/exit.$windrose_element"
windrose_record() {
  printf '%s\\n' "$1" > "$windrose_folder/.exit.$windrose_element.$$" \\
    && mv -f "$windrose_folder/.exit.$windrose_element.$$" "$windrose_folder/exit.$windrose_element"
}
trap 'windrose_record $?' EXIT
"""
COUNT = """\
if [ -n "${SLURM_ARRAY_TASK_COUNT:-}" ] && [ ! -e "$windrose_folder/elements" ]; then
  printf '%s\\n' "$SLURM_ARRAY_TASK_COUNT" > "$windrose_folder/.elements.$windrose_element" \\
    && mv -f "$windrose_folder/.elements.$windrose_element" "$windrose_folder/elements"
fi
"""
# At the time limit Slurm signals all processes: this shell has to outlive the work, to write down how it ended. While
# it waits for a child in the foreground its traps wait, too; what it says of a child that was killed is no output.
WORK = """\
trap : HUP INT QUIT TERM USR1 USR2
exec 8>&2 2>/dev/null
( trap - HUP INT QUIT TERM USR1 USR2 EXIT; exec 2>&8 8>&-; {work} )
windrose_code=$?
"""
# With --signal=B:... Slurm signals the batch shell alone, which has to pass it on. A wait that a trap interrupts may
# lose the code of a child that ends meanwhile (seen in bash 5.2): so a child that no signal ends writes it down.
SIGNALLED_WORK = """\
exec 8>&2 2>/dev/null
windrose_note="$windrose_folder/.work.$windrose_element.$$"
( trap '' HUP INT QUIT TERM USR1 USR2
  ( trap - HUP INT QUIT TERM USR1 USR2 EXIT; echo "$BASHPID" > "$windrose_note.pid"; exec 2>&8 8>&-; {work} )
  echo $? > "$windrose_note.code" ) <&0 &
windrose_child=$!
for windrose_signal in HUP INT QUIT USR1 USR2{term}; do
  trap "kill -$windrose_signal \\$(cat \"$windrose_note.pid\")" "$windrose_signal"
done
{trap_term}
while [ ! -s "$windrose_note.code" ] && kill -0 "$windrose_child"; do wait "$windrose_child"; done
read -r windrose_code < "$windrose_note.code" || windrose_code=137
rm -f "$windrose_note.pid" "$windrose_note.code"
"""
FINISH = """\
[ "$windrose_code" -le 128 ] || [ "$windrose_code" -gt 192 ] \\
  || echo "windrose: the work was ended by signal $((windrose_code - 128))" >&8
exit "$windrose_code"
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Container:
    """An image that the work runs in, by Apptainer or Singularity."""

    image: str  # a file on the cluster, or an address such as docker://...
    binds: Sequence[str] = ()  # source, source:target or source:target:ro
    options: Sequence[str] = ()  # such as --rocm


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What a job does: a script or a command, and what is around it."""

    script: str = ""  # the person's own; stored on the cluster beside the job's, as `script`
    command: str = ""  # shell words, where there is no script
    arguments: Sequence[str] = ()  # of the script
    environment: Mapping[str, object] = field(default_factory=dict)
    preamble: str = ""  # shell lines that run before
    modules: Sequence[str] = ()
    folder: str = ""  # where it runs; '' is `work` in the job's folder, or what the script's own --chdir says
    container: Container | None = None


def normal(script: str) -> str:
    """Return a script with the line ends that a cluster understands; refuse what no shell reads."""
    if "\0" in script:
        raise ScriptError("the script holds a zero byte; a script is text.")
    text = script.replace("\r\n", "\n")
    return text if text.endswith("\n") or not text else text + "\n"


def render(
    name: str,
    work: Work,
    *,
    platform: Platform | None = None,
    resources: Resources | None = None,
    extra_directives: Mapping[str, object] | Iterable[str] | None = None,
) -> str:
    """Return the whole batch script of a job; raise ScriptError with a sentence where something cannot be meant.

    The platform's defaults give way to the script's own #SBATCH lines, and these to resources and extra_directives.
    """
    if not JOB_NAME.fullmatch(name):
        raise ScriptError(f"{name[:60]!r} is no name of a job; write letters, digits, dots, dashes and underscores.")
    if bool(work.script.strip()) == bool(work.command.strip()):
        raise ScriptError("a job runs a script or a command; give one of them.")
    options = all_options(work, platform, resources, extra_directives)
    array = options.get("array")
    pieces = ["#!/bin/bash -l", *directives.lines(named(options, name, is_array=array is not None)), "", BEGIN]
    if array is not None:
        pieces.append(COUNT)
    pieces += [*environment_lines(platform, work), *preamble_lines(platform, work), place(work, options)]
    pieces += [working(words(work, options), options.get("signal") or ""), FINISH]
    return "\n".join(piece.rstrip("\n") for piece in pieces if piece) + "\n"


def all_options(
    work: Work,
    platform: Platform | None,
    resources: Resources | None,
    extra: Mapping[str, object] | Iterable[str] | None,
) -> Options:
    """Return all options of a job, from the weakest source to the strongest."""
    defaults: Options = {}
    for option in ("account", "partition"):
        value = getattr(platform, option, "")
        if value:
            defaults[option] = one_line(value, f"{option} of the platform")
    own = directives.own_options(normal(work.script))
    asked = (resources or Resources()).options()
    options = merged(defaults, own, asked, directives.extra_options(extra))
    directives.check(options)
    if options.get("array") is not None:
        elements(options["array"] or "")
    return options


def named(options: Options, name: str, *, is_array: bool) -> Options:
    """Return the options with ours: by them a job is found again, and its output, and neither can be set."""
    element = ".%a" if is_array else ""
    ours: Options = {
        "job-name": name,
        "output": f"{HERE}/out{element}",
        "error": f"{HERE}/err{element}",
        "open-mode": "append",  # what a requeued job wrote before stays
    }
    return merged(options, ours)


def array_of(script: str) -> str:
    """Return the indexes of a rendered batch script's array, '' where it has none."""
    return directives.own_options(script).get("array") or ""


def environment_lines(platform: Platform | None, work: Work) -> list[str]:
    """Return the exports; a name is a shell's, a value any text."""
    found = []
    of_platform = {name: (value, True) for name, value in (platform.environment if platform else {}).items()}
    for name, (value, theirs) in (
        of_platform | {name: (value, False) for name, value in work.environment.items()}
    ).items():
        if not VARIABLE.fullmatch(name):
            raise ScriptError(f"environment: {name[:60]!r} is no name of a variable; use letters, digits, underscores.")
        text = str(value)
        if "\0" in text:
            raise ScriptError(f"environment: the value of {name} holds a zero byte; write text.")
        found.append(f"export {name}={with_variables(text) if theirs else word(text)}")
    return found


def with_variables(text: str) -> str:
    """Return a text of secrets.yaml as one word: variables in it ($USER, ${SCRATCH}) are the cluster's."""
    pieces = re.split(r"(\$\{[A-Za-z_]\w*\}|\$[A-Za-z_]\w*)", text, flags=re.ASCII)
    return "".join(f'"{piece}"' if number % 2 else word(piece) for number, piece in enumerate(pieces) if piece) or "''"


def preamble_lines(platform: Platform | None, work: Work) -> list[str]:
    """Return the shell lines before the work: the platform's, the modules, the task's own."""
    found = []
    for text in (platform.preamble if platform else "", *map(module_line, work.modules), work.preamble):
        if text.strip():
            found.append(normal(text))
    # What such lines set for themselves must not end the few lines that are left of this script.
    return [*found, "set +eu", "trap 'windrose_record $?' EXIT"] if found else []


def module_line(module: str) -> str:
    """Return the line that loads a module, and ends the job where there is none."""
    if not re.fullmatch(r"[A-Za-z0-9_.+/@-]+", module) or module.startswith("-"):
        raise ScriptError(f"modules: {module[:60]!r} is no name of a module; write one such as gcc/13.2.")
    return f"module load {module} || exit 1"


def place(work: Work, options: Options) -> str:
    """Return the line that goes to the folder in which the work runs."""
    if not work.folder and "chdir" in options:
        return ""
    where = word(one_line(work.folder, "the working directory"), here=True) if work.folder else f"'{HERE}'/work"
    return f"mkdir -p -- '{HERE}'/work && cd -- {where} || exit 1"


def words(work: Work, options: Options) -> str:
    """Return the shell words that do the work."""
    if work.container is not None:
        inside = script_words(work) if work.script.strip() else f"sh -c {word(work.command)}"
        return f"{container_words(work.container, options)} {inside}"
    return f"exec {script_words(work)}" if work.script.strip() else f"eval {word(work.command)}"


def script_words(work: Work) -> str:
    """Return how a script is run: by what its first line names, as the kernel would."""
    given = []
    for argument in map(str, work.arguments):
        if "\0" in argument:
            raise ScriptError("arguments: there is a zero byte in one of them; write text.")
        given.append(word(argument))
    return " ".join([*map(word, interpreter(normal(work.script))), f"'{HERE}'/script", *given])


def interpreter(script: str) -> list[str]:
    """Return the program that a script names in its first line and the one argument of it; bash where it names none."""
    first = script.partition("\n")[0]
    named = first[2:].strip().split(None, 1) if first.startswith("#!") else []
    return [one_line(piece.strip(), "the script's first line") for piece in named] or ["/bin/bash"]


def container_words(container: Container, options: Options) -> str:
    """Return the command that runs what follows inside of an image, with the job's folder and the graphics cards."""
    image = one_line(container.image, "container")
    if not image.strip() or image.startswith("-"):
        raise ScriptError(f"container is {image!r}; write the path of an image, or an address such as docker://alpine.")
    given = [one_line(option, "the container's options") for option in container.options]
    if asks_gpus(options) and not {"--nv", "--rocm", "--nvccli"} & set(given):
        given.append("--nv")
    binds = [word(bound(text), here=True) for text in container.binds]
    mounts = " ".join(f"--bind {bind}" for bind in [f"'{HERE}'", *binds])
    find = '"$(command -v apptainer || command -v singularity || echo apptainer)"'
    return " ".join(["exec", find, "exec", *map(word, given), mounts, '--pwd "$PWD"', word(image)])


def bound(text: str) -> str:
    """Return a bind mount; it is source, source:target or source:target:ro, each a whole path."""
    one_line(text, "binds")
    source, *rest = text.split(":")
    paths = [source, *rest[:1]]
    if len(rest) > 2 or "," in text or not all(path.startswith(("/", HERE)) for path in paths):
        raise ScriptError(f"binds: {text[:80]!r} is not /source, /source:/target or /source:/target:ro.")
    if rest[1:] and rest[1] not in ("ro", "rw"):
        raise ScriptError(f"binds: {text[:80]!r} ends with neither ro nor rw.")
    return text


def asks_gpus(options: Options) -> bool:
    """Say whether a job asks for graphics cards."""
    names = ("gpus", "gpus-per-node", "gpus-per-task", "gpus-per-socket")
    return any(name in options for name in names) or "gpu" in (options.get("gres") or "")


def working(work: str, signal: str) -> str:
    """Return the lines that do the work and wait for its end."""
    alone = re.match(r"R?B[RB]*:(?:SIG)?([A-Z0-9]+)", signal.upper())
    if alone is None:
        return WORK.replace("{work}", work)
    is_term = alone[1] in ("TERM", "15")
    lines = SIGNALLED_WORK.replace("{term}", " TERM" if is_term else "")
    return lines.replace("{trap_term}", "" if is_term else "trap : TERM").replace("{work}", work)


def word(text: str, *, here: bool = False) -> str:
    """Return a text as one word of a shell; {folder} in it is the job's folder only where that is meant."""
    quoted = shlex.quote(text)
    return quoted if here else quoted.replace(HERE, "{''folder}")
