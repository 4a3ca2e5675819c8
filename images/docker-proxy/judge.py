"""What may a job container be? Reads requests strictly, and writes a create request anew from allowed.toml."""

import hashlib
import json
import os
import re
import tomllib
from collections import Counter, namedtuple
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import parse_qsl, unquote

ALLOWED = tomllib.loads((Path(__file__).parent / "allowed.toml").read_text(encoding="utf-8"))
OWN = "windrose.jobs"  # label of all that is made here; its value is the stack's name
TASK_LABELS = "windrose.task."  # others could mean something to other programs
REFERENCE = re.compile(
    r"(?!sha256:)[a-z0-9][a-z0-9._-]*(:\d+)?(/[a-z0-9._-]+)*(:[A-Za-z0-9_.-]+)?(@sha256:[0-9a-f]{64})?"
)
TAGGED = re.compile(r"[:@][^/]*$")
SHAPES = {"text": str, "number": int, "flag": bool, "object": dict, "texts": [str], "objects": [dict], "lists": [list]}
EMPTY = (None, False, "", [], {}, {"Type": "json-file", "Config": {}})
# What the settings allow. Of images, * stops at a slash and ** does not; shares are server:/path.
Rules = namedtuple("Rules", "project network user images folders shares")


class Refusal(Exception):
    """A request that is not allowed: the sentence and the status to answer with."""


def refuse(wrong: object, sentence: str, status: int = 403) -> None:
    """Refuse where something is wrong."""
    if wrong:
        raise Refusal(sentence, status)


def read_target(target: str) -> tuple[str, dict[str, str]]:
    """Return path and parameters of a request; nothing that two readers could read differently passes."""
    raw, _, query = target.partition("?")
    found = re.fullmatch(r"(?:/v1\.\d{1,3})?((?:/[A-Za-z0-9_.:@-]+)+)", unquote(raw))
    pairs = parse_qsl(query, keep_blank_values=True)
    odd = found is None or {".", ".."} & set(found[1].split("/")) or len(dict(pairs)) < len(pairs)
    refuse(odd, "the address of the request is not one that Docker's own clients write")
    return found[1], dict(pairs)


def once(pairs: list[tuple[str, object]]) -> dict:
    """Refuse a key that stands in an object twice, because readers differ in which one counts."""
    for name, times in Counter(name.lower() for name, _ in pairs).items():
        refuse(times > 1, f"{name[:40]}: the key stands there twice")
    return dict(pairs)


def read_json(body: bytes) -> object:
    """Read a body."""
    try:
        return json.loads(body, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise Refusal("the body is not JSON", 403) from error


def only(given: object, kind: str) -> dict:
    """Return what was asked for with the allowed keys, each of its type; any other key is refused by name."""
    refuse(not isinstance(given, dict), f"{kind}: this is not an object")
    for name, value in given.items():
        known = name in ALLOWED[kind] or (name in ALLOWED["idle"]["keys"] and value in EMPTY)
        refuse(not known, f"{kind}, {name[:40]}: a container job may not ask for this")
        shape = SHAPES.get(ALLOWED[kind].get(name))
        items, wanted = (value, shape[0]) if isinstance(shape, list) else ([value], shape)
        fits = value in EMPTY or (isinstance(items, list) and all(type(item) is wanted for item in items))
        refuse(not fits, f"{kind}, {name}: this is not of the type that belongs there")
    return {name: given[name] for name in ALLOWED[kind] if given.get(name) not in EMPTY}


def check_image(name: str, rules: Rules) -> str:
    """Return an image's reference with a tag, so that it is not taken for somebody's id, if JOB_IMAGES allows it."""
    full = name if TAGGED.search(name) else f"{name}:latest"
    for pattern in rules.images if len(full) < 300 and REFERENCE.fullmatch(full) else []:
        pieces = [{"**": "[^@]*", "*": "[^/@]*"}.get(piece, re.escape(piece)) for piece in re.split(r"(\*+)", pattern)]
        if re.fullmatch("".join(pieces) + ("" if TAGGED.search(pattern) else r"([:@][^/]*)?"), full):
            return full
    raise Refusal(f"image {full[:200]}: JOB_IMAGES in .env does not allow it", 403)


def check_login(login: dict, rules: Rules) -> dict:
    """Return a login where images come from: the engine would ask any address of its own networks otherwise."""
    host = re.sub(r"^https?://|/.*", "", login.get("serveraddress", ""))
    places = [
        pattern.split("/")[0] if re.search(r"^[^/]*[.:][^/]*/", pattern) else "*docker.io" for pattern in rules.images
    ]
    known = not host or any(fnmatchcase(host, place) for place in places)
    refuse(not known, f"{host[:80]}: no image that JOB_IMAGES allows comes from there")
    return login


def create(body: object, rules: Rules) -> tuple[dict, dict[str, dict[str, str]]]:
    """Return a create request written anew, and the volumes it needs with the options they must have."""
    asked = only(body, "container")
    host = {**ALLOWED["limits"], **only(asked.get("HostConfig", {}), "host")}
    host["DeviceRequests"] = [only(entry, "device") for entry in host.get("DeviceRequests", [])]
    network, labels = host.get("NetworkMode", rules.network), asked.get("Labels", {})
    refuse(any(type(value) is int and value < 0 for value in host.values()), "host: a limit is less than nothing")
    refuse(network not in ("default", "none", rules.network), f"NetworkMode: not {network[:80]}, but the jobs' own")
    refuse(any(gpu.get("Capabilities") != [["gpu"]] for gpu in host["DeviceRequests"]), "DeviceRequests: only for GPUs")
    refuse(any(not name.startswith(TASK_LABELS) for name in labels), f"Labels: only such as begin with {TASK_LABELS}")
    volumes: dict[str, dict[str, str]] = {}
    host["Mounts"] = [mount(entry, rules, volumes) for entry in host.get("Mounts", [])]
    if any(volumes.values()):
        # What it writes to a folder of this machine belongs to the stack's own user, never to root.
        asked["User"] = rules.user
    host |= {"NetworkMode": "none" if network == "none" else rules.network, "MemorySwap": host["Memory"]}
    asked |= {"Image": check_image(asked.get("Image", ""), rules), "HostConfig": host | ALLOWED["fixed"]}
    return {**asked, "Labels": {**labels, **ALLOWED["labels"], OWN: rules.project}}, volumes


def mount(entry: object, rules: Rules, volumes: dict[str, dict[str, str]]) -> dict:
    """Return one mount, written anew; the volume that it needs is added to the volumes."""
    asked = {"Type": "", "Source": "", "Target": "", "ReadOnly": False, **only(entry, "mount")}
    kind, source = asked["Type"], asked["Source"]
    if kind == "volume" and re.fullmatch(r"job-[A-Za-z0-9_.-]{1,100}", source):
        volumes[source] = {}
        return asked
    # The folders lie in this container where they lie on the machine, so links and .. lead to the same place.
    real = os.path.realpath(source) if kind == "bind" else source
    roots = {"bind": rules.folders, "volume": rules.shares}.get(kind, [])
    root = max((root for root in roots if f"{real}/".startswith(f"{root}/")), key=len, default="")
    wrong = not root or ".." in real.split("/")
    refuse(wrong, f"mount of {source[:80]}: neither JOB_MOUNTS nor JOB_NFS in .env allows it, nor is it job-...")
    server, _, path = root.partition(":")
    nfs = {"type": "nfs", "o": f"nfsvers=4,nosuid,nodev,addr={server}", "device": f":{path}"}
    name = f"{rules.project}_jobs-{hashlib.sha256(root.encode()).hexdigest()[:12]}"
    volumes[name] = nfs if kind == "volume" else {"type": "none", "o": "bind", "device": root}
    # The engine itself goes down the rest of the way; it follows no link that somebody puts there in the meantime.
    below = {"Subpath": real[len(root) + 1 :]} if real.strip("/") != root.strip("/") else {}
    return {**asked, "Type": "volume", "Source": name, "VolumeOptions": {"NoCopy": True, **below}}
