"""Make `.venv` from `scripts/requirements.txt`: the one program that runs before there is anything to run it with.

Given a command (`load`), run that instead, on the machine's own Python: it brings what `.venv` is made from.
Only the standard library, and only syntax that Python 3.6 reads: an old python3 gets a sentence, not a traceback.
"""

import importlib
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
READY = os.path.join(VENV, "ready")
WHEELS = os.path.join(ROOT, ".windrose", "wheels")  # what `make load` brought: then no index is asked
FETCHED_UV = os.path.join(ROOT, ".windrose", "uv", "uv")
REQUIREMENTS = os.path.join(ROOT, "scripts", "requirements.txt")
OLDEST = (3, 11)
NEWER_PYTHONS = ("python3.14", "python3.13", "python3.12", "python3.11")
REFUSED = ("401 Error", "403 Error", "401 Unauthorized", "403 Forbidden")
UNREACHABLE = (
    "Failed to establish a new connection",
    "Name or service not known",
    "Temporary failure in name resolution",
    "failed to lookup address",
    "Connection refused",
    "Network is unreachable",
    "timed out",
    "CERTIFICATE_VERIFY_FAILED",
    "UnknownIssuer",
    "error sending request",
    "Failed to fetch",
    "ProxyError",
    "Retrying (",
)


class Stop(Exception):
    """One sentence for the user: where, what; the mend."""


def main() -> int:
    """Make the environment, or say in one sentence why not."""
    try:
        if sys.version_info < OLDEST:  # noqa: UP036
            restart_with(find_newer_python())
        if sys.argv[1:]:
            os.chdir(ROOT)
            os.execv(sys.executable, [sys.executable, "-m", "scripts"] + sys.argv[1:])  # noqa: S606
        say("windrose: preparing .venv, once")
        make_and_install()
        with open(READY, "w") as ready:
            ready.write(sys.version.split()[0] + "\n")
    except Stop as problem:
        say(str(problem))
        return 1
    except KeyboardInterrupt:
        say("stopped; run the same command again to go on")
        return 130
    return 0


def make_and_install() -> None:
    """Make `.venv` with the package index, proxies and certificates that `.env` or this machine names."""
    sys.path.insert(0, ROOT)
    settings, index = importlib.import_module("scripts.settings"), importlib.import_module("scripts.package_index")
    try:
        chosen = settings.load()
    except importlib.import_module("scripts.errors").KitError as problem:
        raise Stop(str(problem)) from None
    with index.index_environment(chosen) as environment:
        try:
            install(make_environment(environment), environment)
        except Stop as problem:
            raise Stop(index.without_password(str(problem))) from None


def find_newer_python() -> str:
    """Return a Python that is new enough and really runs (a version manager's shim may not)."""
    for name in NEWER_PYTHONS:
        path = shutil.which(name)
        if path and run([path, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"])[0] == 0:
            return path
    found = "{}.{}".format(*sys.version_info[:2])
    wanted = "{}.{}".format(*OLDEST)
    raise Stop(f"python3: is {found}, windrose needs {wanted} or newer; install python{wanted} and run make again.")


def restart_with(python: str) -> None:
    """Run this program again with another Python, in place of this one."""
    os.execv(python, [python, os.path.abspath(__file__)] + sys.argv[1:])  # noqa: S606


def make_environment(environment: "dict[str, str]") -> "list[str]":
    """Make `.venv` by the first means this machine has; return the command that installs into it."""
    pip = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-cache-dir", "--retries=2"]
    if os.path.exists(READY) and run([PYTHON, "-m", "pip", "--version"])[0] == 0:
        return pip
    code, reason = run([sys.executable, "-m", "venv", "--clear", VENV])
    if code == 0:
        return pip
    uv = shutil.which("uv")
    if uv and run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, VENV])[0] == 0:
        return [uv, "pip", "install", "--quiet", "--python", PYTHON]
    for virtualenv in ([shutil.which("virtualenv") or ""], [sys.executable, "-m", "virtualenv"]):
        if virtualenv[0] and run([*virtualenv, "--quiet", "--clear", "--python", sys.executable, VENV])[0] == 0:
            return pip
    fetched, why_not = fetch_uv(environment)
    if fetched and run([fetched, "venv", "--quiet", "--clear", "--python", sys.executable, VENV], environment)[0] == 0:
        return [fetched, "pip", "install", "--quiet", "--python", PYTHON]
    raise Stop(no_environment(reason, why_not))


def fetch_uv(environment: "dict[str, str]") -> "tuple[str, str]":
    """Fetch uv by itself: it makes environments for a Python that has neither venv nor pip."""
    wheel = importlib.import_module("scripts.uv_wheel")
    say("windrose: this Python has neither venv nor pip; fetching uv")
    loaded = {"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": WHEELS}
    try:
        return str(wheel.ensure(wheel.Path(FETCHED_UV), loaded if os.path.isdir(WHEELS) else environment)), ""
    except (wheel.NoWheel, OSError) as error:
        return "", str(error)


def no_environment(reason: str, why_no_uv: str) -> str:
    """Say why there is no environment and which package brings it."""
    if "ensurepip" not in reason and "No module named venv" not in reason:
        return f"python3 -m venv: {last_line(reason)}; mend that and run make again."
    if not os.path.exists("/etc/debian_version"):
        return f"python3: has no venv, and {why_no_uv}; install uv or virtualenv and run make again."
    sudo = "" if os.geteuid() == 0 else "sudo "
    return f"python3: has no venv, and {why_no_uv}; run `{sudo}apt-get install python3-venv` and make again."


def install(command: "list[str]", environment: "dict[str, str]") -> None:
    """Install the pinned requirements into `.venv`."""
    loaded = ["--no-index", "--find-links", WHEELS] if os.path.isdir(WHEELS) else []
    code, output = run([*command, *loaded, "-r", REQUIREMENTS], environment)
    if code == 0:
        return
    where = "uv" if os.path.basename(command[0]) == "uv" else "pip"
    if loaded:
        fix = "load the bundle of this release, or delete .windrose/wheels to use the package index"
        raise Stop(f"{where}: {last_line(output)}; {fix}.")
    if any(sign in output for sign in REFUSED):
        raise Stop(
            f"{where}: the package index refuses user or password; mend PACKAGE_INDEX in .env and run make again."
        )
    if any(sign in output for sign in UNREACHABLE):
        fix = "check the network, the proxy, PACKAGE_INDEX in .env or `pip config list`, then run make again"
        raise Stop(f"{where}: cannot reach the package index; {fix}.")
    raise Stop(f"{where}: {last_line(output)}; mend that and run make again.")


def run(command: "list[str]", environment: "dict[str, str] | None" = None) -> "tuple[int, str]":
    """Run a program without input; return its exit code and what it printed."""
    try:
        done = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    except OSError as error:
        return 127, str(error)
    output = done.communicate()[0]
    return done.returncode, output.decode("utf-8", "replace")


def last_line(text: str) -> str:
    """Return the last line that says something, without its end mark."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].rstrip(".")[:300] if lines else "ended with an error"


def say(text: str) -> None:
    """Print progress or the one sentence."""
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
