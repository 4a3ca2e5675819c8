"""What may stand in a setting: each check returns the value as it is used, or says what belongs there."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from ipaddress import IPv4Network, ip_network
from pathlib import Path

SHIPPED_FOLDERS = ("tutorial", "templates", "platforms", "hpc", "maintenance", "kubernetes")


def anything(value: str) -> str:
    """Take whatever stands there."""
    return value


def port(value: str) -> str:
    """Take a port."""
    if not value.isdecimal() or not 1 <= int(value) <= 65535:
        raise ValueError("a port from 1 to 65535, for example 8080")
    return value


def count(value: str) -> str:
    """Take a whole number from 1."""
    if not value.isdecimal() or int(value) < 1:
        raise ValueError("a whole number from 1, for example 2")
    return value


def days(value: str) -> str:
    """Take a number of days, 0 included."""
    if not value.isdecimal():
        raise ValueError("a whole number of days, for example 90, or 0 for never")
    return value


def count_or_empty(value: str) -> str:
    """Take a whole number from 1, or nothing."""
    return count(value) if value else value


def subnet(value: str) -> str:
    """Take a network that can be cut into one for each of the stack's, or nothing."""
    if not value:
        return value
    try:
        network = ip_network(value)
    except ValueError:
        network = None
    if not isinstance(network, IPv4Network) or network.prefixlen > 26:
        raise ValueError("an IPv4 network of /26 or larger that is free on your site, for example 10.213.0.0/24")
    return value


def file(value: str) -> str:
    """Take the path of a file, or nothing."""
    if value and not Path(value).expanduser().is_file():
        raise ValueError("the path of a file that exists, or empty")
    return value


def address(value: str) -> str:
    """Take an address of the web, or nothing."""
    if value and not re.fullmatch(r"https?://\S+", value):
        raise ValueError("an address that starts with http:// or https://, or empty")
    return value


def debian_mirror(value: str) -> str:
    """Take an address without a password, or nothing."""
    # debootstrap takes it as an argument, and it stays in the image's list of sources.
    if "@" in address(value):
        raise ValueError("an address without a password: everybody on this machine could read it")
    return value.rstrip("/")


def proxy(value: str) -> str:
    """Take the address of a proxy, or nothing."""
    # Many sites set it without a scheme, and curl takes it so; httpx and uv do not.
    if value and "://" not in value:
        value = f"http://{value}"
    if value and not re.fullmatch(r"(https?|socks5h?)://\S+", value):
        raise ValueError("an address such as http://proxy.example.org:3128, or empty")
    return value


def registry(value: str) -> str:
    """Take the name of a registry, or nothing."""
    if value and not re.fullmatch(r"[a-z0-9.-]+(:\d+)?(/[a-z0-9._/-]+)?", value):
        raise ValueError("a host with an optional port and path, for example mirror.example.org:5000/docker")
    return value.rstrip("/")


def account(value: str) -> str:
    """Take a name to log in with."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", value):
        raise ValueError("letters, digits, dot, dash or underscore, for example admin")
    return value


def folders(value: str) -> str:
    """Take all, none, or names of shipped folders of dags/."""
    names = [name.strip() for name in value.split(",")]
    if value != "none" and not set(names) <= {"all", *SHIPPED_FOLDERS}:
        raise ValueError(f"all, none, or some of {','.join(SHIPPED_FOLDERS)}")
    return ",".join(names)


def one_of(*words: str) -> Callable[[str], str]:
    """Return the check that takes just these words."""

    def check(value: str) -> str:
        if value not in words:
            near = difflib.get_close_matches(value, words, n=1)
            raise ValueError(f"one of {', '.join(words)}" + (f" (did you mean {near[0]}?)" if near else ""))
        return value

    return check
