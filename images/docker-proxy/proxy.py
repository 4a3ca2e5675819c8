"""Stands between tasks and Docker's engine: forwards what container jobs need, refuses the rest with a sentence."""

import json
import os
import re
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from http.client import HTTPResponse
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from select import select
from socketserver import ThreadingUnixStreamServer
from urllib.parse import urlencode

from judge import ALLOWED, OWN, Refusal, Rules, check_image, check_login, create, only, read_json, read_target, refuse

LISTS = [os.environ.get(name, "").replace(",", " ").split() for name in ("JOB_IMAGES", "JOB_MOUNTS", "JOB_NFS")]
RULES = Rules(os.environ["PROXY_PROJECT"], os.environ["PROXY_NETWORK"], os.environ["PROXY_USER"], *LISTS)
OURS = f"/{RULES.project}-job-"  # how the names of all that is made here begin, as the engine writes them
ENGINE = os.environ.get("PROXY_ENGINE", "/var/run/docker.sock")
PLACE = Path(os.environ.get("PROXY_PLACE", "/run/docker-proxy"))
LARGEST, PATIENCE = 256 * 1024, 60  # bytes of a body; seconds that a job lives without a client
MOST = 200  # connections at a time: each takes memory, and two open files
NAMED = re.compile(r"/(containers|images)/(?!create$|json$)(.+?)(/(?:json|start|attach|wait|logs|archive|stop|kill))?")
held: dict[object, str] = {}  # connections, and the containers they follow
seen: dict[str, float] = {}  # containers, and when somebody last asked for them


def send(method: str, path: str, query: object = (), body: object = None, *, head: str = "") -> socket.socket:
    """Send a request of our own making to the engine; its answer can be read from the socket."""
    text = b"" if body is None else json.dumps(body).encode()
    first = f"{method} {path}?{urlencode(query)} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n"
    engine = socket.socket(socket.AF_UNIX)
    engine.connect(ENGINE)
    engine.sendall(f"{first}{head or 'Connection: close'}\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text)
    return engine


def ask(method: str, path: str, query: object = (), body: object = None) -> dict:
    """Return what the engine answers."""
    with send(method, path, query, body) as engine:
        answer = HTTPResponse(engine, method=method)
        answer.begin()
        return json.loads(answer.read() or "{}")


def remove(container: str, reason: str, grace: int = 0) -> None:
    """Stop and remove a container."""
    print(f"docker-proxy: removing {container[:12]}: {reason}", file=sys.stderr, flush=True)
    ask("POST", f"/containers/{container}/stop", {"t": grace})
    ask("DELETE", f"/containers/{container}", {"force": 1, "v": 1})


def sweep(reason: str, patience: float = 0) -> None:
    """Remove what was made here and no client has asked for lately; all of it where there is no patience."""
    own = json.dumps({"label": [f"{OWN}={RULES.project}"]})
    # An image that was made of a job hands its label on; the name it cannot.
    listed = ask("GET", "/containers/json", {"all": 1, "filters": own})
    for container in [found["Id"] for found in listed if found["Names"][0].startswith(OURS)]:
        idle = time.monotonic() - seen.setdefault(container, time.monotonic())
        if not patience or (idle > patience and container not in list(held.values())):
            remove(container, reason)


class Handler(BaseHTTPRequestHandler):
    """One connection of a client, with one request."""

    timeout, log_message = 60, print  # seconds for a client that does not finish its request

    def answer(self) -> None:
        """Forward a request, or refuse it."""
        try:
            body = self.body()
            path, query = read_target(self.path)
            kind, name, verb = named.groups("") if (named := NAMED.fullmatch(path)) else ("", "", "")
            route = f"{self.command} /{kind}/*{verb}" if name else f"{self.command} {path}"
            odd = query.keys() - set(ALLOWED["requests"].get(route, ())) or route not in ALLOWED["requests"]
            refuse(odd, f"{self.command} {path[:80]} {' '.join(query)[:80]}: container jobs do not need this")
            if kind == "containers":
                self.follow(name, verb, query)
            else:
                self.relay(self.anew(path, query, body if path in ("/auth", "/containers/create") else b""))
        except Refusal as refusal:
            sentence, status = refusal.args
            text = json.dumps({"message": f"docker-proxy: {sentence}"})
            if status != 404:  # every job looks for what an earlier try may have left
                print(text, file=sys.stderr, flush=True)
            head = f"HTTP/1.1 {status} Refused\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
            self.wfile.write((head + text).encode())

    do_GET = do_HEAD = do_POST = do_DELETE = do_PUT = do_PATCH = do_OPTIONS = answer

    def body(self) -> bytes:
        """Return the body; too large a one is let pass by, so that the client hears why."""
        size = self.headers.get("Content-Length", "0")
        wrong = not size.isdecimal() or "Transfer-Encoding" in self.headers
        refuse(wrong, "the request does not say how long it is")
        if (left := int(size)) <= LARGEST:
            return self.rfile.read(left)
        while left > 0 and (piece := self.rfile.read(min(left, LARGEST))):
            left -= len(piece)
        raise Refusal(f"the body is larger than {LARGEST} bytes", 413)

    def anew(self, path: str, query: dict, body: bytes) -> socket.socket:
        """Send, written anew, a request that speaks of no container that is there."""
        if path == "/auth":
            return send("POST", path, (), check_login(only(read_json(body), "login"), RULES))
        if path == "/containers/create":
            fresh, volumes = create(read_json(body), RULES)
            for name, options in volumes.items():
                wanted = {"Name": name, "Driver": "local", "DriverOpts": options, "Labels": {OWN: RULES.project}}
                made = ask("POST", "/volumes/create", body=wanted)  # or the one that was there
                found = {key: made.get("Options" if key == "DriverOpts" else key) or {} for key in wanted}
                refuse(wanted != found, f"volume {name}: it was not made here, or with other options")
            name = query.get("name", "").removeprefix("job-")
            return send("POST", path, {"name": f"{OURS[1:]}{name}"}, fresh)
        if path == "/images/create":
            tag = query.get("tag", "")
            query = {"fromImage": check_image(query.get("fromImage", "") + (tag and "@:"[":" not in tag] + tag), RULES)}
            login = re.sub(r"[^\w+/=-]", "", self.headers.get("X-Registry-Auth", ""))
            return send("POST", path, query, head=f"Connection: close\r\nX-Registry-Auth: {login}")
        if path.startswith("/images/") and path != "/images/json":
            check_image(path.removeprefix("/images/").removesuffix("/json"), RULES)
        return send(self.command, path, query)

    def follow(self, name: str, verb: str, query: dict) -> None:
        """Forward what speaks of a container that was made here; it goes when the client that follows it goes."""
        full = f"{RULES.project}-{name}" if name.startswith("job-") else name
        found = ask("GET", f"/containers/{full}/json") if "/" not in name else {}
        ours = (found.get("Config", {}).get("Labels") or {}).get(OWN) == RULES.project
        ours = ours and found["Name"].startswith(OURS)
        refuse(not ours, f"No such container: {name[:80]} is not one that was made here", 404)
        mounted = verb == "/archive" and found["HostConfig"].get("Mounts")
        refuse(mounted, "archive: not of a container with mounts, which the engine would read as root")
        head = "Connection: Upgrade\r\nUpgrade: tcp" if verb == "/attach" else ""
        container, path = found["Id"], f"/containers/{found['Id']}"
        engine = send(self.command, path + verb, query if verb else {"v": 1, "force": 1}, head=head)
        held[self] = container
        try:
            stayed = self.relay(engine)
        finally:
            seen[container] = time.monotonic()
            del held[self]
        if not stayed and verb in ("/attach", "/wait", "/stop") and container not in list(held.values()):
            if verb == "/stop" or ask("GET", f"{path}/json").get("State", {}).get("Running"):
                remove(container, "its client is gone", 10)

    def relay(self, engine: socket.socket) -> bool:
        """Hand over what the engine says, byte by byte; return whether the client stayed to the end."""
        self.connection.settimeout(None)
        with engine, suppress(OSError):
            while ready := select([engine, self.connection], [], [])[0]:
                if engine not in ready and not self.connection.recv(2**16):
                    return False
                if engine in ready:
                    if not (piece := engine.recv(2**16)):
                        return True
                    self.connection.sendall(piece)
        return False


def main() -> None:
    """Serve; what was made before, and what is left in the end, has no client any more."""
    sweep("it is left over")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    os.umask(0o177)
    (PLACE / "docker.sock").unlink(missing_ok=True)
    server = ThreadingUnixStreamServer(str(PLACE / "docker.sock"), Handler)
    server.daemon_threads, server.verify_request = True, lambda *_: threading.active_count() < MOST
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        while True:
            sweep("nobody asks for it", PATIENCE)
            (PLACE / "heartbeat").touch()
            time.sleep(5)
    finally:
        sweep("the proxy ends")


main()
