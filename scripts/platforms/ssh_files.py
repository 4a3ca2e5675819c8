"""What the tasks' ~/.ssh holds: the pinned host keys, and the way over a jump host.

Two programs read the config: paramiko (SSHHook) takes ProxyCommand by the address and knows no %p, HostName or
ProxyJump; asyncssh (SSHHookAsync) takes more, but this, too. So each platform behind another one gets a ProxyCommand
with everything spelt out, and `ssh` finds the other one under a name of our own, which no connection has.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from scripts.errors import KitError, Problems
from scripts.platforms.known_hosts import KnownHosts, write_whole
from scripts.platforms.plan import Plan, SshPlatform
from scripts.settings import STATE

FOLDER = STATE / "ssh"
HOME = "/home/airflow/.ssh"  # where FOLDER is mounted
CONNECT_TIMEOUT = 20
# What needs no quoting and means nothing special to ssh, paramiko, asyncssh or the shell's word rules.
_ADDRESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
_USER = re.compile(r"[\w.+][\w.+@-]*")
_PATH = re.compile(r"[\w./+@=-]+")
_HEAD = "# Written by Windrose from secrets.yaml; edit that.\n"


def write(plan: Plan, pins: KnownHosts, folder: Path = FOLDER, uid: int | None = None, *, home: str = HOME) -> bool:
    """Write both files, only where they change; say whether one did."""
    texts = {"config": config(plan, home=home), "known_hosts": known_hosts(plan, pins)}
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)
    if uid is not None and os.geteuid() == 0:
        os.chown(folder, uid, 0)
    changed = [name for name, text in texts.items() if not _is_current(folder / name, text, uid)]
    for name in changed:
        write_whole(folder / name, texts[name], uid=uid)
    return bool(changed)


def refresh(plan: Plan, pins: KnownHosts, *, home: str = HOME) -> bool:
    """Write them for the stack of this clone, whose tasks see the change at once."""
    return write(plan, pins, FOLDER, STATE.stat().st_uid if STATE.exists() else None, home=home)


def known_hosts(plan: Plan, pins: KnownHosts) -> str:
    """Return the pins, with the keys that secrets.yaml states itself in place of the pins of those hosts."""
    all_pins = KnownHosts(pins.lines)
    for address, port in dict.fromkeys((platform.address, platform.port) for platform in plan.ssh):
        here = [platform for platform in plan.ssh if (platform.address, platform.port) == (address, port)]
        stated = [" ".join(platform.host_key.split()[:2]) for platform in here if platform.host_key]
        # Without the check a pin goes, too: paramiko would still refuse a key that differs from it.
        if stated or not any(platform.check_host_key for platform in here):
            all_pins.pin(address, port, stated)
    return _HEAD + all_pins.text()


def config(plan: Plan, *, home: str = HOME) -> str:
    """Return the config: a block a platform behind another one, and a block a platform on the way."""
    platforms = {platform.id: platform for platform in plan.ssh}
    _check(plan, platforms)
    blocks = [_HEAD]
    behind = {platform.address: platform for platform in plan.ssh if platform.jump}
    for address, platform in behind.items():
        blocks.append(f"Host {address}\n    ProxyCommand {' '.join(proxy_command(platform, home=home))}\n")
    for name in dict.fromkeys(platform.jump for platform in plan.ssh if platform.jump):
        blocks.append(_jump_block(platforms[name], key_file(plan, name), home))
    return "\n".join(blocks)


def key_file(plan: Plan, platform_id: str) -> str:
    """Return where tasks find the key of a platform, as its connection says; '' where it has none."""
    connection = plan.connections.get(platform_id)
    extra = connection.get("extra") if isinstance(connection, dict) else None
    return str(extra.get("key_file", "")) if isinstance(extra, dict) else ""


def proxy_command(platform: SshPlatform, *, home: str = HOME) -> list[str]:
    """Return the command that opens the way to a platform behind another one."""
    address = f"[{platform.address}]" if ":" in platform.address else platform.address
    return ["ssh", "-F", f"{home}/config", "-W", f"{address}:{platform.port}", alias(platform.jump)]


def alias(platform_id: str) -> str:
    """Return the name under which ssh finds a platform on the way; ids may hold signs that a host name may not."""
    # ssh makes host names small, and patterns are compared as they are: capitals are spelt out, too.
    return "windrose-" + re.sub(r"[^a-z0-9._-]", lambda sign: f"+{ord(sign[0]):x}", platform_id)


def way(platform: SshPlatform, platforms: dict[str, SshPlatform]) -> list[SshPlatform]:
    """Return the platforms on the way, the nearest to us first; a circle or an unknown one is an error."""
    hops: list[SshPlatform] = []
    current = platform
    while current.jump:
        if current.jump not in platforms:
            raise _problem(current, "names a jump host that is no ssh platform", "name one of platforms")
        current = platforms[current.jump]
        if current in hops or current is platform:
            raise _problem(platform, "is reached over a circle of jump hosts", "let one of them do without `jump`")
        hops.append(current)
    return hops[::-1]


def _jump_block(jump: SshPlatform, key_path: str, home: str) -> str:
    checks = ("yes", f"{home}/known_hosts") if jump.check_host_key else ("no", "/dev/null")
    options = {
        "HostName": jump.address,
        "Port": jump.port,
        "User": jump.user,
        "IdentityFile": key_path,
        "IdentitiesOnly": "yes",
        "BatchMode": "yes",
        "StrictHostKeyChecking": checks[0],
        "UserKnownHostsFile": checks[1],
        "ConnectTimeout": CONNECT_TIMEOUT,
        "LogLevel": "ERROR",
        **({"ProxyCommand": " ".join(proxy_command(jump, home=home))} if jump.jump else {}),
    }
    return f"Host {alias(jump.id)}\n" + "".join(f"    {name} {value}\n" for name, value in options.items())


def _check(plan: Plan, platforms: dict[str, SshPlatform]) -> None:
    """Refuse what the file cannot say, all of it at once."""
    problems: list[KitError] = []
    concerned: dict[str, SshPlatform] = {}
    for platform in plan.ssh:
        try:
            hops = way(platform, platforms)
        except KitError as problem:
            problems.append(problem)
            continue
        if hops:
            concerned.update({each.id: each for each in (platform, *hops)})
    problems += [problem for platform in concerned.values() for problem in _signs(platform)]
    for name in dict.fromkeys(platform.jump for platform in plan.ssh if platform.jump in concerned):
        if not _PATH.fullmatch(key_file(plan, name)):
            fix = "give it a `key` whose `path` has letters, digits and . _ - only; ssh can ask nobody for a password"
            problems.append(_problem(platforms[name], "is a jump host and needs a key", fix))
    problems += _two_ways(plan)
    if problems:
        raise Problems(problems)


def _signs(platform: SshPlatform) -> list[KitError]:
    """Find what would end a line or a word of the config, or mean something in it."""
    problems = []
    if not _ADDRESS.fullmatch(platform.address):
        problems.append(_problem(platform, "has signs in `address` that a host name cannot have", "correct it"))
    if not _USER.fullmatch(platform.user):
        fix = "use letters, digits and . _ + @ - only"
        problems.append(_problem(platform, "has signs in `user` that a jump host's configuration cannot hold", fix))
    return problems


def _two_ways(plan: Plan) -> list[KitError]:
    """Find platforms of one address that ask for different ways: Airflow's hooks know the way by the address alone."""
    first: dict[str, SshPlatform] = {}
    problems = []
    for platform in plan.ssh:
        other = first.setdefault(platform.address.lower(), platform)
        one_way = (platform.jump, platform.port) == (other.jump, other.port)
        if (platform.jump or other.jump) and not one_way:
            problem = f"has the address of {other.id}, but another `jump` or `port`"
            fix = "Airflow finds the way by the address alone: give one of them another name of the machine"
            problems.append(_problem(platform, problem, fix))
    return problems


def _problem(platform: SshPlatform, problem: str, fix: str) -> KitError:
    return KitError(f"secrets.yaml line {platform.line}", f"{platform.id} {problem}", fix)


def _is_current(path: Path, text: str, uid: int | None) -> bool:
    try:
        state = path.stat()
        right_owner = uid is None or os.geteuid() != 0 or state.st_uid == uid
        return (
            right_owner
            and state.st_mode & 0o777 == 0o600
            and path.read_bytes() == text.encode("utf-8", "surrogateescape")
        )
    except OSError:
        return False
