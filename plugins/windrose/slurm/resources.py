"""What a job asks of a cluster, checked before anything is sent there."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import timedelta
from math import ceil

from windrose.slurm.directives import Options, ScriptError, one_line

TIME = re.compile(r"\d+(:\d{1,2}){0,2}|\d+-\d{1,2}(:\d{1,2}){0,2}|infinite|unlimited", re.IGNORECASE)
TIME_RULE = 'write minutes (90), "HH:MM:SS" or "D-HH:MM:SS", or a timedelta'
MEMORY = re.compile(r"(\d+)\s*(?:([KMGT])(?:i?B)?)?", re.IGNORECASE)
RANGE = re.compile(r"(\d+)(?:-(\d+)(?::(\d+))?)?")
ARRAY_RULE = 'write indexes such as "0-9", "1,3,5" or "0-99%10" (ten at a time)'
MOST_ELEMENTS = 4_000_001  # more than any cluster takes

Number = int | str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """What a job asks for; what is not said comes from the script's own #SBATCH lines, the platform or the cluster.

    Numbers may come as text, as templates and forms give them; '' is not said.
    """

    account: str | None = None  # the project that pays
    partition: str | None = None
    time: int | float | str | timedelta | None = None  # minutes, "D-HH:MM:SS", timedelta
    nodes: Number = None  # 2 or "2-4"
    tasks: Number = None
    tasks_per_node: Number = None
    cpus: Number = None  # for each task
    memory: int | str | None = None  # for each node: "4G"; a number alone is megabytes
    memory_per_cpu: int | str | None = None
    memory_per_gpu: int | str | None = None
    gpus: Number = None  # of the whole job: 2 or "a100:2"
    gpus_per_node: Number = None
    gres: str | None = None
    qos: str | None = None
    constraint: str | None = None
    reservation: str | None = None
    array: int | str | None = None  # "0-9%4"
    dependency: str | None = None
    begin: str | timedelta | None = None  # "16:00", "now+1hour", "2027-01-31T08:00", or from now on
    exclusive: bool | str | None = None
    requeue: bool | str | None = None
    licenses: str | None = None
    signal: str | None = None  # "B:USR1@120"

    def options(self) -> Options:
        """Return the options of sbatch; raise ScriptError with a sentence where a value cannot be meant."""
        found: Options = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str):
                value = one_line(value, field.name).strip()
            if value is None or value == "":
                continue
            if field.name in FLAGS:
                found |= FLAGS[field.name](value, field.name)
            else:
                option, check = OPTIONS[field.name]
                found[option] = check(value, field.name)
        if sum(name in found for name in ("mem", "mem-per-cpu", "mem-per-gpu")) > 1:
            raise ScriptError("memory, memory_per_cpu and memory_per_gpu exclude each other; keep one of them.")
        return found


def elements(array: str) -> int:
    """Return how many elements an array of these indexes has."""
    found: set[int] = set()
    for piece in array.partition("%")[0].split(","):
        match = RANGE.fullmatch(piece)
        if match is None:
            raise ScriptError(f"array is {array[:60]!r}; {ARRAY_RULE}.")
        first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
        if last < first or step < 1 or last >= MOST_ELEMENTS:
            raise ScriptError(f"array: {piece} counts nothing; {ARRAY_RULE}.")
        found.update(range(first, last + 1, step))
    return len(found)


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise ScriptError(f"{name} is {value!r}; write a text.")
    return value


def _number(value: object, name: str) -> str:
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(r"[1-9]\d{0,8}", text):
        raise ScriptError(f"{name} is {value!r}; write a whole number from 1.")
    return text


def _nodes(value: object, name: str) -> str:
    text = str(value)
    match = re.fullmatch(r"([1-9]\d{0,8})-([1-9]\d{0,8})", text)
    if match is None:
        return _number(value, name)
    if int(match[1]) > int(match[2]):
        raise ScriptError(f"{name} is {text!r}; the least comes first, as in 2-4.")
    return text


def _gpus(value: object, name: str) -> str:
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(r"([A-Za-z0-9_.-]+:)?\d{1,6}(,[A-Za-z0-9_.-]+:\d{1,6})*", text):
        raise ScriptError(f'{name} is {value!r}; write a number, or a type and a number such as "a100:2".')
    return text


def _memory(value: object, name: str) -> str:
    match = None if isinstance(value, bool) else MEMORY.fullmatch(str(value))
    if match is None:
        raise ScriptError(f'{name} is {value!r}; write a whole number with its unit, such as "4G" or "500M".')
    return match[1] + (match[2] or "").upper()


def _time(value: object, name: str) -> str:
    if isinstance(value, timedelta):
        seconds = ceil(value.total_seconds())
        if seconds <= 0:
            raise ScriptError(f"{name} is {value}; {TIME_RULE}.")
        days, rest = divmod(seconds, 86400)
        return f"{days}-{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    if isinstance(value, float):
        return _time(timedelta(minutes=value), name) if value == value and abs(value) < 1e8 else _bad_time(value, name)
    text = str(value)
    nothing = not re.search(r"[1-9a-z]", text, re.IGNORECASE)
    return _bad_time(value, name) if isinstance(value, bool) or nothing or not TIME.fullmatch(text) else text


def _bad_time(value: object, name: str) -> str:
    raise ScriptError(f"{name} is {value!r}; {TIME_RULE}.")


def _array(value: object, name: str) -> str:
    text = re.sub(r"\s", "", str(value))
    _, percent, at_once = text.partition("%")
    if isinstance(value, bool) or (percent and not re.fullmatch(r"[1-9]\d*", at_once)):
        raise ScriptError(f"{name} is {value!r}; {ARRAY_RULE}.")
    elements(text)
    return text


def _dependency(value: object, name: str) -> str:
    text = _text(value, name)
    if not re.fullmatch(r"(after[a-z]*:\d+[\d:+_*]*|singleton)([,?](after[a-z]*:\d+[\d:+_*]*|singleton))*", text):
        raise ScriptError(f'{name} is {text[:60]!r}; write a condition and job ids, such as "afterok:1234:1235".')
    return text


def _begin(value: object, name: str) -> str:
    if isinstance(value, timedelta):
        return f"now+{max(0, ceil(value.total_seconds()))}seconds"
    return _text(value, name)


def _yes_or_no(value: object, name: str) -> bool:
    text = str(value).lower()
    if text not in ("true", "false", "yes", "no", "1", "0"):
        raise ScriptError(f"{name} is {value!r}; write true or false.")
    return text in ("true", "yes", "1")


def _exclusive(value: object, name: str) -> Options:
    if str(value).lower() in ("user", "mcs", "topo"):
        return {"exclusive": str(value).lower()}
    return {"exclusive": None} if _yes_or_no(value, name) else {}


def _requeue(value: object, name: str) -> Options:
    return {"requeue" if _yes_or_no(value, name) else "no-requeue": None}


FLAGS: dict[str, Callable[[object, str], Options]] = {"exclusive": _exclusive, "requeue": _requeue}
OPTIONS: dict[str, tuple[str, Callable[[object, str], str]]] = {
    "account": ("account", _text),
    "partition": ("partition", _text),
    "time": ("time", _time),
    "nodes": ("nodes", _nodes),
    "tasks": ("ntasks", _number),
    "tasks_per_node": ("ntasks-per-node", _number),
    "cpus": ("cpus-per-task", _number),
    "memory": ("mem", _memory),
    "memory_per_cpu": ("mem-per-cpu", _memory),
    "memory_per_gpu": ("mem-per-gpu", _memory),
    "gpus": ("gpus", _gpus),
    "gpus_per_node": ("gpus-per-node", _gpus),
    "gres": ("gres", _text),
    "qos": ("qos", _text),
    "constraint": ("constraint", _text),
    "reservation": ("reservation", _text),
    "array": ("array", _array),
    "dependency": ("dependency", _dependency),
    "begin": ("begin", _begin),
    "licenses": ("licenses", _text),
    "signal": ("signal", _text),
}
