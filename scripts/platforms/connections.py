"""What Airflow is told of a platform: the JSON of its connection, in the fields that the hooks of its type read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from scripts.platforms.models import (
    S3,
    Batch,
    Docker,
    Firecrest,
    Http,
    Kubernetes,
    Mlflow,
    Platform,
    Postgres,
    Raw,
    Smtp,
    Ssh,
)

MARK = "windrose: "  # begins the description of everything that is ours
FACTS = ("scheduler", "account", "partition", "scratch", "transport", "preamble", "environment", "tags")
# What Windrose sets itself, or what would undo a check of the server's key.
REFUSED_SSH_EXTRA = (
    "key_file",
    "private_key",
    "private_key_passphrase",
    "passphrase",
    "host_key",
    "no_host_key_check",
    "ignore_hostkey_verification",
    "allow_host_key_change",
    "known_hosts",
)


@dataclass(frozen=True, slots=True)
class Login:
    """What a platform's credentials come to."""

    key_path: str = ""  # of an SSH key or a token, where tasks find it
    host_key: str = ""  # of the server: stated or pinned
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __getitem__(self, name: str) -> str:
        """Return a secret, '' where it is not known."""
        return self.secrets.get(name, "")


def build(platform: Platform, login: Login) -> dict[str, Any]:
    """Return the JSON of a platform's connection."""
    made = _BUILDERS[platform.type](platform, login)
    extra = {**made.pop("extra", {}), **platform.extra}
    fields = {name: value for name, value in made.items() if value != ""}
    return {**fields, **({"extra": extra} if extra else {}), "description": description(platform)}


def pool(slots: int, text: str, *, include_deferred: bool = False) -> dict[str, Any]:
    """Return the JSON of a pool."""
    return {"slots": slots, "description": MARK + text, "include_deferred": include_deferred}


def own_extra(platform: Platform, login: Login) -> set[str]:
    """Return the keys of the extra that are Windrose's to set."""
    if isinstance(platform, Ssh):
        return {*REFUSED_SSH_EXTRA, "windrose"}
    return {*_BUILDERS[platform.type](platform, login).get("extra", {}), "windrose"}


def description(platform: Platform) -> str:
    """Return the text that marks a connection as ours; tags show there where no hook has a place for them."""
    tags = f" [{', '.join(platform.tags)}]" if platform.tags and not isinstance(platform, Batch) else ""
    return f"{MARK}{platform.description or 'from secrets.yaml'}{tags}"


def facts(platform: Batch) -> dict[str, Any]:
    """Return what the platform's operators read of it, only what the file says."""
    given = {name: getattr(platform, name) for name in FACTS if name in platform.model_fields_set}
    if given and "pool" in platform.model_fields_set:
        given["slots"] = platform.pool  # an operator cannot ask Airflow for a pool
    return {"windrose": given} if given else {}


def endpoint(platform: Platform) -> tuple[str, int] | None:
    """Return host and port of a platform without SSH, None where it has no address."""
    address = getattr(platform, "address", "")
    if isinstance(platform, Postgres | Smtp):
        return platform.address, platform.port
    if isinstance(platform, Docker):
        address = f"https://{address}"
    return url_endpoint(address)


def url_endpoint(address: str) -> tuple[str, int] | None:
    """Return host and port of a web address."""
    try:
        parts = urlsplit(address)
        port = parts.port or (80 if parts.scheme == "http" else 443)
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname else None


def build_raw(raw: Raw) -> dict[str, Any]:
    """Return the JSON of a connection that the file states in Airflow's own words."""
    given = raw.model_dump(by_alias=True, exclude_unset=True)
    if "password" in given:
        given["password"] = raw.password.get_secret_value()
    return {**given, "description": MARK + (raw.description or "from secrets.yaml")}


def _ssh(platform: Ssh, login: Login) -> dict[str, Any]:
    checks: dict[str, Any] = {"host_key": login.host_key} if login.host_key else {}
    if not platform.check_host_key:
        # Without the second one, SSHHook would still hold pins against the server, and write new ones to a file that
        # tasks can only read.
        checks = {"no_host_key_check": True, "allow_host_key_change": True}
    return {
        # No "password" with a key: both hooks would offer it to the server.
        "conn_type": platform.type,
        "login": platform.user,
        "password": "" if login.key_path else login["password"],
        "host": platform.address,
        "port": platform.port,
        "extra": {**({"key_file": login.key_path} if login.key_path else {}), **checks, **facts(platform)},
    }


def _docker(platform: Docker, login: Login) -> dict[str, Any]:
    extra = {"email": platform.email} if platform.email else {}
    return {
        "conn_type": "docker",
        "login": platform.user,
        "password": login["password"],
        "host": platform.address,
        "extra": extra,
    }


def _postgres(platform: Postgres, login: Login) -> dict[str, Any]:
    return {
        "conn_type": "postgres",
        "login": platform.user,
        "password": login["password"],
        "host": platform.address,
        "port": platform.port,
        "schema": platform.database,
        "extra": {"sslmode": platform.sslmode} if "sslmode" in platform.model_fields_set else {},
    }


def _s3(platform: S3, login: Login) -> dict[str, Any]:
    bucket = {"service_config": {"s3": {"bucket_name": platform.bucket}}} if platform.bucket else {}
    extra = {"endpoint_url": platform.address, "region_name": platform.region}
    return {
        "conn_type": "aws",
        "login": login["access_key"],
        "password": login["secret_key"],
        "extra": {**{name: value for name, value in extra.items() if value}, **bucket},
    }


def _http(platform: Http, login: Login) -> dict[str, Any]:
    return {
        "conn_type": "http",
        "login": platform.user,
        "password": login["password"],
        "host": platform.address,
        "extra": {"Authorization": f"Bearer {login['token']}"} if login["token"] else {},
    }


def _mlflow(platform: Mlflow, login: Login) -> dict[str, Any]:
    return {
        "conn_type": "mlflow",
        "login": platform.user,
        "password": login["password"] or login["token"],
        "host": platform.address,
    }


def _smtp(platform: Smtp, login: Login) -> dict[str, Any]:
    sender = {"from_email": platform.from_email} if platform.from_email else {}
    return {
        "conn_type": "smtp",
        "login": platform.user,
        "password": login["password"],
        "host": platform.address,
        "port": platform.port,
        "extra": {**sender, "disable_tls": platform.ssl or not platform.starttls, "disable_ssl": not platform.ssl},
    }


def _firecrest(platform: Firecrest, login: Login) -> dict[str, Any]:
    extra = {"token_url": platform.token_url, "token_file": login.key_path, "system": platform.system}
    extra["scope"] = platform.scope
    return {
        "conn_type": "firecrest",
        "login": login["client_id"],
        "password": login["client_secret"],
        "host": platform.address,
        "extra": {**{name: value for name, value in extra.items() if value}, **facts(platform)},
    }


def _kubernetes(platform: Kubernetes, login: Login) -> dict[str, Any]:
    context = {"cluster_context": platform.context} if platform.context else {}
    extra = {"kube_config": login["kube_config"], "namespace": platform.namespace, **context}
    return {"conn_type": "kubernetes", "extra": extra}


_BUILDERS: dict[str, Callable[[Any, Login], dict[str, Any]]] = {
    "ssh": _ssh,
    "sftp": _ssh,
    "docker": _docker,
    "postgres": _postgres,
    "s3": _s3,
    "http": _http,
    "mlflow": _mlflow,
    "smtp": _smtp,
    "firecrest": _firecrest,
    "kubernetes": _kubernetes,
}
