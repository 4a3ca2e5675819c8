"""Does a DAG file reach out while it is read? Python tells this process of each attempt, and it is stopped there."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

IN_TASK = "do that inside a task: a DAG file is read again every few seconds"
DRIVERS = ("psycopg2", "psycopg")  # written in C: Python does not see what they reach
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# What any library may look at while it works: itself, time zones, the machine.
LIBRARIES = (sys.prefix, sys.base_prefix, *set(sysconfig.get_paths().values()))
ALWAYS_READABLE = (*LIBRARIES, "/usr/share/zoneinfo", "/usr/lib/python3", "/etc/localtime", "/dev", "/proc", "/sys")


class ReachedOut(BaseException):
    """A DAG file tried to reach out; no `except Exception` of its own hides it."""


@dataclass(frozen=True)
class Place:
    """Where the user's own code was when something happened."""

    file: str
    line: int
    is_import: bool  # not the line itself, but a library that it imports


class Guard:
    """Stops what may not happen while a DAG file is read, and remembers it."""

    def __init__(self, own_folders: list[str]) -> None:
        """Remember the folders with the user's own code; begin with arm()."""
        self.own_folders = tuple(os.path.realpath(folder) + os.sep for folder in own_folders)
        self.readable = tuple(os.path.realpath(path) for path in (*ALWAYS_READABLE, *own_folders))
        self.found: list[tuple[Place, str, str]] = []  # where, what it does, the mend
        self.armed = False

    def arm(self) -> None:
        """Begin. Python has no way to take such a watch away: for a process that reads one file and ends."""
        sys.addaudithook(self.watch)
        refuse_what_python_does_not_tell(self)
        self.armed = True

    def watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Look at what Python says it is about to do."""
        look = LOOKS.get(event) if self.armed else None
        if look is None:
            return
        self.armed = False  # what we do here is no deed of the file
        try:
            look(self, event, arguments)
        finally:
            self.armed = True

    def refuse(self, deed: str, *, fix: str = IN_TASK, from_imports: bool = False) -> None:
        """Stop it where the user's own code asked for it, and also, where wanted, what a library does on import."""
        place = self.place()
        if place is None or (place.is_import and not from_imports):
            return
        self.found.append((place, f"imports what {deed}" if place.is_import else deed, fix))
        raise ReachedOut(deed)

    def place(self) -> Place | None:
        """Return the user's own line that led here, None where there is none."""
        frame: FrameType | None = sys._getframe(1)
        is_import = False
        while frame is not None:
            name = frame.f_code.co_filename
            if name.startswith("<frozen importlib"):
                is_import = True
            elif os.path.realpath(name).startswith(self.own_folders):
                return Place(name, frame.f_lineno, is_import)
            frame = frame.f_back
        return None


def look_at_network(guard: Guard, event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse every connection, and every question for an address."""
    target = arguments[0] if event.startswith("socket.get") else arguments[1]
    if event == "socket.getaddrinfo" and len(arguments) > 1 and arguments[1]:
        target = (target, arguments[1])
    guard.refuse(f"connects to {address(target)} while it is read", from_imports=True)


def address(target: object) -> str:
    """Return an address as people write it."""
    if isinstance(target, tuple) and len(target) >= 2:
        return f"{text(target[0])}:{text(target[1])}"
    return text(target)


def text(value: object) -> str:
    """Return a name, whether it came as text or as bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def look_at_program(guard: Guard, event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse to start programs; a library that asks the machine something on import may."""
    words = arguments[1] if event == "subprocess.Popen" and len(arguments) > 1 else arguments[0]
    # Only the program: its arguments may hold a password.
    first = words if isinstance(words, str | bytes) else (list(words) or [""])[0]
    name = (text(first).split() or ["a program"])[0]
    guard.refuse(f"starts the program {name} while it is read")


def look_at_database(guard: Guard, event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse to open a database."""
    guard.refuse("asks a database while it is read", from_imports=True)


def look_at_file(guard: Guard, event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse to write files, and to read any but those that come with the DAGs."""
    path, flags = arguments[0], arguments[2] if event == "open" and len(arguments) > 2 else 0
    if not isinstance(path, str | bytes | os.PathLike):
        return  # a file that is open already
    name = os.fsdecode(path)
    if event in ("open", "os.listdir", "os.scandir") and not (flags or 0) & WRITES:
        real = os.path.realpath(name)
        if not any(real == folder or real.startswith(folder.rstrip(os.sep) + os.sep) for folder in guard.readable):
            guard.refuse(
                f"looks at {name} while it is read",
                fix="do that inside a task, or keep the file beside the DAG in dags/",
            )
    elif name != os.devnull:
        guard.refuse(f"changes {name} while it is read")


Look = Callable[[Guard, str, tuple[Any, ...]], None]
LOOKS: dict[str, Look] = {
    **dict.fromkeys(("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"), look_at_network),
    **dict.fromkeys(("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn"), look_at_program),
    **dict.fromkeys(("sqlite3.connect",), look_at_database),
    **dict.fromkeys(("open", "os.listdir", "os.scandir", "os.mkdir", "os.remove", "os.rename"), look_at_file),
    **dict.fromkeys(("os.rmdir", "os.truncate", "shutil.rmtree", "shutil.copyfile", "shutil.move"), look_at_file),
}


def refuse_what_python_does_not_tell(guard: Guard) -> None:
    """Stand before drivers written in C, and before Airflow's own answers on connections and variables."""
    from airflow.sdk.execution_time import context

    def ask(kind: str, mend: str) -> Callable[..., None]:
        def refuse(name: str, *_: object, **__: object) -> None:
            guard.refuse(f"asks Airflow for the {kind} {name} while it is read", fix=mend.replace("NAME", name))
            raise RuntimeError(f"{kind} {name} is not to be had here")

        return refuse

    variable = ask("variable", "do that inside a task, or write {{ var.value.NAME }} into a templated argument")
    connection = ask("connection", "do that inside a task, or give an operator the connection's id alone")
    setattr(context, "_get_variable", variable)  # noqa: B010 - typed otherwise, on purpose
    setattr(context, "_get_connection", connection)  # noqa: B010
    for name in DRIVERS:
        driver: Any = sys.modules.get(name)
        if driver is not None:
            driver.connect = lambda *_, **__: guard.refuse("asks a database while it is read", from_imports=True)


def own_line(trace: str, folders: list[str]) -> tuple[str, int] | None:
    """Return the last place in a trace that is the user's own code."""
    import re

    found = re.findall(r'File "([^"]+)", line (\d+)', trace)
    own = [(name, int(line)) for name, line in found if is_below(name, folders)]
    return own[-1] if own else None


def is_below(name: str, folders: list[str]) -> bool:
    """Say whether a file lies in one of the folders."""
    return any(Path(name).is_relative_to(folder) for folder in folders)
