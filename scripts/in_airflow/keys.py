"""Keep the SSH keys, certificates and tokens of secrets.yaml beside the tasks, in memory, fresh, opened where we can.

`python -IS keys.py` looks every two seconds; `keys.py unlock` takes {"<key>": "<phrase>"} on stdin; `keys.py state`
prints what is known. This process alone sees the folders of the host that hold keys. It starts private_key.py for
each change, so that it stays small itself, and prints names and states, never what is in a file.
"""

from __future__ import annotations

import base64
import errno
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from dataclasses import astuple, dataclass, field
from typing import Any

EVERY = 2.0
GRACE = 30.0  # programs that renew a key may delete it first, or write it apart from its certificate
CHILD_SECONDS = 20  # docker calls us sick when the heartbeat is 30 s old
CHILD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "private_key.py")
UNLOCK_SECONDS = 10
LARGEST = 1024 * 1024
PHRASES = "phrases.json"
STATE = "state.json"
PASSING = ("failed", "full", "unreadable")  # may mend without any change of the file
GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
TARGET = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")

Mark = tuple[int, ...]  # tells two states of a file apart; () where there is none


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything lies."""

    key_list: str = "/opt/windrose/key-list/keys.json"  # what make wrote: which keys there are
    host: str = "/host"  # folders of the host, each at its own path below
    secrets: str = "/run/secrets"  # memory that the tasks see
    private: str = "/run/keys"  # memory that nobody else sees


class Trouble(Exception):
    """Why a file cannot be taken up; the word is the key's state."""


@dataclass(slots=True)
class Key:
    """What we know about one key."""

    entry: dict[str, Any]
    state: str = ""
    certificate: str = "none"
    until: float | None = None
    marks: tuple[Mark, Mark] | None = None  # of what was taken up last
    phrases: tuple[Any, ...] = ()  # where phrases came from then
    is_ours: bool = False  # the copy beside the tasks is one that this process made or recognised
    since: float | None = None  # when the source, its certificate or their match went missing
    again: float | None = None  # when to try again although nothing has changed

    def told(self) -> dict[str, Any]:
        """Return what others are told."""
        return {"state": self.state or "missing", "certificate_until": self.until, "certificate": self.certificate}


@dataclass(slots=True)
class Keeper:
    """The loop and its memory."""

    places: Places
    mode: int = 0o440
    keys: dict[str, Key] = field(default_factory=dict)
    secrets_file: str = ""
    links: dict[str, str] = field(default_factory=dict)
    list_mark: Mark = ()
    asked: dict[str, str] = field(default_factory=dict)
    asked_mark: Mark = ()
    folders: dict[str, str] = field(default_factory=dict)  # resolved ones, for one round
    written: str = ""

    def go_round(self, now: float) -> None:
        """Bring everything up to date once."""
        touch(f"{self.places.private}/heartbeat")
        self.folders.clear()
        self.read_list()
        self.read_asked()
        for target, key in self.keys.items():
            before = key.state
            self.look_after(target, key, now)
            if key.state != before:
                print(f"keys: {target}: {key.state}", flush=True)  # noqa: T201
        if self.list_mark:
            self.sweep()
        self.tell()

    def read_list(self) -> None:
        """Take up a new list; one that cannot be read leaves the last good one in force."""
        try:
            mark = mark_of(self.places.key_list)
            if not mark or mark == self.list_mark:
                return
            found = json.loads(read(self.places.key_list))
            entries = {str(entry["target"]): entry for entry in found["keys"] if is_usable(entry)}
            links = {str(path): str(target) for path, target in found.get("links", {}).items()}
            secrets_file = str(found.get("secrets_file", ""))
        except (Trouble, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return
        known = {target: key for target, key in self.keys.items() if entries.get(target) == key.entry}
        self.keys = {target: known.get(target) or Key(entry) for target, entry in entries.items()}
        self.links, self.secrets_file, self.list_mark = links, secrets_file, mark

    def read_asked(self) -> None:
        """Take up the phrases that a person was asked for."""
        mark = mark_of(path := f"{self.places.private}/{PHRASES}")
        if mark and mark != self.asked_mark:
            self.asked, self.asked_mark = json.loads(read(path)), mark

    def look_after(self, target: str, key: Key, now: float) -> None:
        """Renew the copy of one key if anything about its source has changed."""
        source, beside = (self.resolve(key.entry["file"] + end) for end in ("", "-cert.pub"))
        marks = (mark_of(source), mark_of(beside))
        if not marks[0]:
            self.miss(target, key, now)
            return
        phrases = (self.asked.get(target), mark_of(self.phrase_file(key)))
        is_settled = key.marks == marks and (key.phrases == phrases or key.state not in ("locked", "wrong-phrase"))
        if is_settled and (key.again is None or now < key.again):
            key.since = None
            return
        if key.marks and key.marks[0] == marks[0] and key.marks[1] and not marks[1] and self.is_waiting(key, now):
            return
        key.again = None
        try:
            data = read(source)
            # One that cannot be read is a bad one, not none: the key still counts.
            certificate = (content_or_none(beside) or b"") if marks[1] else None
            self.take_up(target, key, self.open(target, key, data, certificate), certificate, now=now)
        except Trouble as trouble:
            if str(trouble) == "changing":
                return
            self.refuse(target, key, str(trouble), now)
        key.marks, key.phrases = marks, phrases

    def miss(self, target: str, key: Key, now: float) -> None:
        """Let the copy stay for a while without its source."""
        key.since = key.since if key.state == "missing" else None
        key.state, key.marks, key.again = "missing", None, None
        if not self.is_waiting(key, now):
            self.remove(target, key)

    def is_waiting(self, key: Key, now: float) -> bool:
        """Say whether what is missing may still come."""
        key.since = now if key.since is None else key.since
        return now - key.since <= GRACE

    def take_up(self, target: str, key: Key, found: dict[str, Any], certificate: bytes | None, *, now: float) -> None:
        """Put the opened key and its certificate beside the tasks."""
        is_bad = found["certificate"] not in ("none", "valid")
        if is_bad and not found["same"] and key.is_ours and self.is_waiting(key, now):
            # A new key beside the certificate of the old one: the new certificate is on its way.
            key.again = now
            return
        if is_bad and found["same"] and key.is_ours:
            certificate = content_or_none(f"{self.places.secrets}/{target}-cert.pub")
        elif is_bad:
            certificate = None
        self.put(target, base64.b64decode(found["key"]), certificate, is_same=found["same"])
        key.state, key.certificate, key.is_ours, key.since = "ready", found["certificate"], True, None
        key.until = found["until"] if not is_bad else key.until if certificate is not None else None

    def refuse(self, target: str, key: Key, state: str, now: float) -> None:
        """Keep the previous copy, unless nothing says that it is this key's."""
        if state in PASSING:
            key.again = now + GRACE
        elif not key.is_ours:
            self.remove(target, key)
        key.state, key.since = state, None

    def open(self, target: str, key: Key, data: bytes, certificate: bytes | None) -> dict[str, Any]:
        """Let the child open a key."""
        touch(f"{self.places.private}/heartbeat")
        request = {
            "kind": key.entry.get("kind", "ssh"),
            "key": encoded(data),
            "certificate": encoded(certificate),
            "phrase": self.asked.get(target),
            "phrase_file": self.phrase_file(key),
            "phrase_of": [key.entry["phrase"]["key"], target] if "key" in key.entry["phrase"] else None,
            "previous": encoded(content_or_none(self.copies(target)[0])),
        }
        argv, text = [sys.executable, "-I", CHILD], json.dumps(request).encode()
        try:
            done = subprocess.run(argv, input=text, capture_output=True, timeout=CHILD_SECONDS, check=True)
            found: dict[str, Any] = json.loads(done.stdout)
        except (OSError, ValueError, subprocess.SubprocessError):
            raise Trouble("failed") from None
        if found["state"] != "ready":
            raise Trouble(found["state"])
        return found

    def phrase_file(self, key: Key) -> str:
        """Return which file is told to hold a key's phrase, '' for none."""
        paths = {"file": key.entry["phrase"].get("path"), "secrets.yaml": self.secrets_file}
        path = paths.get(key.entry["phrase"]["source"])
        return self.resolve(path) if path else ""

    def resolve(self, path: str, hops: int = 0) -> str:
        """Return where a path of the host lies here, its links followed as the host would."""
        folder, name = os.path.split(path.rstrip("/"))
        if not name:
            return self.places.host
        if folder not in self.folders:
            self.folders[folder] = self.resolve(folder, hops)
        base = self.folders[folder]
        if name in (".", ".."):
            return os.path.dirname(base) if name == ".." and base != self.places.host else base
        here = f"{base}/{name}"
        try:
            target = os.readlink(here)
        except OSError as error:
            # Links between the mounted folders are not here themselves: make wrote down what they say.
            target = self.links.get(here.removeprefix(self.places.host), "") if error.errno in GONE else ""
        if not target or hops > 40:
            return here if not target else f"{here}/"  # a circle: the slash makes the kernel say so
        above = "" if target.startswith("/") else base.removeprefix(self.places.host) + "/"
        return self.resolve(above + target, hops + 1)

    def put(self, target: str, key: bytes, certificate: bytes | None, *, is_same: bool) -> None:
        """Replace the copies, each whole or not at all.

        A key beside another key's certificate is an error to asyncssh, a key alone is not. So the old certificate goes
        before a different key comes; a renewed certificate replaces the old one in one step.
        """
        folder, path, beside = self.places.secrets, *self.copies(target)
        try:
            write_file(f"{folder}/.key", key, self.mode)
            if certificate is not None:
                write_file(f"{folder}/.certificate", certificate, self.mode)
            if certificate is None or not is_same:
                remove_file(beside)
            os.rename(f"{folder}/.key", path)
            if certificate is not None:
                os.rename(f"{folder}/.certificate", beside)
        except OSError:
            raise Trouble("full") from None

    def copies(self, target: str) -> tuple[str, str]:
        """Return where tasks find a key and its certificate."""
        return f"{self.places.secrets}/{target}", f"{self.places.secrets}/{target}-cert.pub"

    def remove(self, target: str, key: Key) -> None:
        """Take a key away from the tasks, and its certificate."""
        for path in reversed(self.copies(target)):
            remove_file(path)
        key.certificate, key.until, key.is_ours = "none", None, False

    def sweep(self) -> None:
        """Delete what no listed key has put there."""
        kept = set(self.keys) | {f"{target}-cert.pub" for target in self.keys}
        for name in set(os.listdir(self.places.secrets)) - kept:
            remove_file(f"{self.places.secrets}/{name}")

    def tell(self) -> None:
        """Write the states down for `keys.py state`, and up to which phrases they are true."""
        state = {"phrases": self.asked_mark, "keys": {target: key.told() for target, key in self.keys.items()}}
        text = json.dumps(state)
        if text != self.written:
            replace_file(f"{self.places.private}/{STATE}", text.encode())
            self.written = text


def is_usable(entry: dict[str, Any]) -> bool:
    """Say whether an entry of the list is one; raise what read_list catches where it is not even like one."""
    is_phrase = isinstance(entry["phrase"]["source"], str)
    is_name = TARGET.fullmatch(entry["target"]) is not None and not entry["target"].endswith("-cert.pub")
    return is_phrase and is_name and entry["file"].startswith("/")


def mark_of(file: str | int) -> Mark:
    """Return what tells this state of a file from any other; the change time also tells a copy that kept its date."""
    try:
        found = os.fstat(file) if isinstance(file, int) else os.lstat(file)
    except OSError as error:
        return () if error.errno in GONE else (error.errno or 0,)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def read(path: str) -> bytes:
    """Return a file's content if nobody writes to it meanwhile."""
    try:
        # Neither a FIFO nor a link that has just come may hold us up.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            before, found = mark_of(descriptor), os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST:
                raise Trouble("not-a-key")
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(LARGEST)
            if mark_of(descriptor) != before:
                raise Trouble("changing")
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Trouble("changing" if error.errno in GONE else "unreadable") from None
    return data


def content_or_none(path: str) -> bytes | None:
    """Return a file's content if it can be had."""
    try:
        return read(path)
    except Trouble:
        return None


def encoded(data: bytes | None) -> str | None:
    """Return bytes as JSON can carry them."""
    return None if data is None else base64.b64encode(data).decode()


def touch(path: str) -> None:
    """Show that we live."""
    with open(path, "a"):
        os.utime(path)


def write_file(path: str, data: bytes, mode: int) -> None:
    """Write a new file, in place of what a killed process of ours may have left."""
    remove_file(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
        os.fchmod(descriptor, mode)


def replace_file(path: str, data: bytes) -> None:
    """Write a file of ours, whole or not at all."""
    write_file(f"{path}.{os.getpid()}", data, 0o600)
    os.rename(f"{path}.{os.getpid()}", path)


def remove_file(path: str) -> None:
    """Delete a file if it is there."""
    try:
        os.unlink(path)
    except (FileNotFoundError, IsADirectoryError):
        pass


def read_state(places: Places) -> dict[str, Any]:
    """Return what the loop has told, {} before it has."""
    text = content_or_none(f"{places.private}/{STATE}")
    return {} if text is None else dict(json.loads(text))


def unlock(places: Places) -> bool:
    """Store phrases for the loop; wait until it has tried them; say whether they were any."""
    try:
        given = json.load(sys.stdin)
        if not isinstance(given, dict) or not all(isinstance(phrase, str) for phrase in given.values()):
            raise ValueError
    except (ValueError, RecursionError):
        print('keys: stdin is not {"<key>": "<phrase>"}', file=sys.stderr)  # noqa: T201
        return False
    known = content_or_none(path := f"{places.private}/{PHRASES}")
    replace_file(path, json.dumps({**json.loads(known or b"{}"), **given}).encode())
    mark, end = mark_of(path), time.monotonic() + UNLOCK_SECONDS
    while (read_state(places).get("phrases") or mark[:3] + (0,))[3] < mark[3] and time.monotonic() < end:
        time.sleep(0.1)
    return True


def main(arguments: list[str]) -> int:
    """Look after the keys for ever, or do the one thing that was asked."""
    # Tests put all of it below a folder of their own.
    places = Places(*(os.environ.get("WINDROSE_KEYS_ROOT", "") + path for path in astuple(Places())))
    if arguments not in ([], ["unlock"], ["state"]):
        print("keys: write unlock, state or nothing", file=sys.stderr)  # noqa: T201
        return 2
    if arguments == ["unlock"] and not unlock(places):
        return 2
    if arguments:
        print(json.dumps(read_state(places).get("keys", {})))  # noqa: T201
        return 0
    # At once, whatever is under way: every file appears whole or not at all.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    is_task_uid = os.environ.get("WINDROSE_TASK_UID") == str(os.getuid())
    keeper = Keeper(places, 0o400 if is_task_uid else 0o440)
    while True:
        keeper.go_round(time.monotonic())
        time.sleep(EVERY)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
