"""Every setting there is, and the only reader of `.env` and of the environment."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Network
from pathlib import Path

from scripts import job_settings
from scripts import setting_checks as checks
from scripts.errors import KitError, Problems
from scripts.setting_checks import SHIPPED_FOLDERS

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".windrose"  # what a clone remembers of itself; never in git
OPTION_LIST = ROOT / "scripts" / "airflow_options.txt"

# Settings that Windrose computes for Airflow and that a person must therefore not set beside it.
OWNED_OPTIONS = frozenset(
    {
        "database.sql_alchemy_conn",
        "database.sql_alchemy_conn_async",
        "core.fernet_key",
        "core.executor",
        "core.execution_api_server_url",
        "api_auth.jwt_secret",
        "api.secret_key",
        "celery.broker_url",
        "celery.result_backend",
    }
)
# Sections that Airflow hands on whole, whatever keys they hold.
FREE_SECTIONS = ("celery_broker_transport_options.", "celery_result_backend_transport_options.")
SHOWN_WHEN_NAMED = frozenset({"kubernetes"})  # `all` alone does not show them: most have no such cluster
PASSED_ON = ("COMPOSE_", "DOCKER_", "X_")
# What make hands over (`make logs SERVICE=postgres`); a command that starts another make must not pass them on.
ARGUMENTS = (
    *("SERVICE", "CONFIRM", "LINES", "FOLLOW", "TIER", "K"),
    *("PLATFORM", "TRUST", "ADOPT", "CHECK", "DIFF", "JSON"),
    *("BUNDLE", "FOR", "PYTHON_VERSION"),
    *("DAG", "CONF", "WAIT", "UNPAUSE", "RUN", "TASK"),
    "DOWN",
)
_LINE = re.compile(r"^(?:export\s+)?(?P<key>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?P<value>.*)$")


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of `.env`: its default, what it does, and the check of its value."""

    key: str
    default: str
    help: str
    check: Callable[[str], str] = checks.anything


SETTINGS = (
    Setting(
        "RUNTIME",
        "auto",
        "auto: Docker where its engine answers, else without; compose: with Docker; embedded: without",
        checks.one_of("auto", "compose", "embedded"),
    ),
    Setting("AIRFLOW_PORT", "8080", "Port of the web page, on 127.0.0.1 only", checks.port),
    Setting("ADMIN_USER", "admin", "Name of the first administrator, made at the first start", checks.account),
    Setting("EXECUTOR", "local", "local, or celery for workers of their own", checks.one_of("local", "celery")),
    Setting("WORKERS", "1", "How many workers run with EXECUTOR=celery", checks.count),
    Setting("PARALLELISM", "", "Tasks that run at once; empty: what memory and cores allow", checks.count_or_empty),
    Setting("MEMORY_MB", "", "Memory that the stack may share out, in MB; empty: the machine's", checks.count_or_empty),
    Setting(
        "LIBRARY",
        "all",
        "Shipped DAGs to show: all, none, or folders: tutorial,templates or all,kubernetes",
        checks.folders,
    ),
    Setting("LOG_DAYS", "30", "Task logs older than this many days are deleted", checks.count),
    Setting("LOG_SIZE_MB", "5000", "Task logs over this size are deleted, oldest first", checks.count),
    Setting(
        "HISTORY_DAYS",
        "90",
        "Runs that began this many days ago leave the database once they ended; 0: never",
        checks.days,
    ),
    Setting(
        "JOB_IMAGES",
        "",
        "Images that container jobs may run, such as example.org/team/*; empty: none",
        job_settings.images,
    ),
    Setting("JOB_MOUNTS", "", "Folders of this machine that container jobs may use", job_settings.folders),
    Setting("JOB_NFS", "", "NFS shares that container jobs may use, as server:/path", job_settings.shares),
    Setting("SUBNET", "", "IPv4 network for the stack where Docker's choice collides with your site", checks.subnet),
    Setting(
        "IMAGE_SOURCE",
        "auto",
        "auto: pull base images, build them where no registry answers; registry; local",
        checks.one_of("auto", "registry", "local"),
    ),
    Setting(
        "IMAGE_REGISTRY", "", "Private mirror put before every image name, such as mirror.example.org", checks.registry
    ),
    Setting("IMAGE_REGISTRY_USER", "", "Login for that mirror, where it wants one"),
    Setting("IMAGE_REGISTRY_PASSWORD", "", "Password of that login; it stays in this file"),
    Setting("DEBIAN_MIRROR", "", "Debian mirror for images built here; empty: the machine's own", checks.debian_mirror),
    Setting("PACKAGE_INDEX", "", "Python package index for the build; may hold a password", checks.address),
    Setting("BUILD_CA_BUNDLE", "", "CA certificates to trust while building; empty: the machine's own", checks.file),
    Setting("EXTRA_CA_BUNDLE", "", "CA certificates that running containers trust as well", checks.file),
    Setting("HTTP_PROXY", "", "Proxy for http, at build and at run", checks.proxy),
    Setting("HTTPS_PROXY", "", "Proxy for https, at build and at run", checks.proxy),
    Setting("NO_PROXY", "", "Hosts reached without the proxy; the stack's own names are added"),
)
_BY_KEY = {setting.key: setting for setting in SETTINGS}


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings in force."""

    values: Mapping[str, str]
    airflow_options: Mapping[str, str]  # "section.key" -> value, from AIRFLOW__SECTION__KEY
    passed_on: Mapping[str, str]  # COMPOSE_*, DOCKER_* and X_*: Docker's and the user's own
    given: frozenset[str] = frozenset()  # the settings that somebody set, also to their default

    def __getitem__(self, key: str) -> str:
        """Return the value of one setting."""
        return self.values[key]

    @property
    def port(self) -> int:
        """The port of the web page."""
        return int(self["AIRFLOW_PORT"])

    @property
    def uses_celery(self) -> bool:
        """Whether tasks run in workers of their own."""
        return self["EXECUTOR"] == "celery"

    @property
    def hidden_folders(self) -> list[str]:
        """The shipped folders of dags/ that LIBRARY does not show."""
        names = set(self["LIBRARY"].split(","))
        shown = names | (set(SHIPPED_FOLDERS) - SHOWN_WHEN_NAMED if "all" in names else set())
        return [folder for folder in SHIPPED_FOLDERS if folder not in shown]

    @property
    def runs_containers(self) -> bool:
        """Whether tasks may start containers, through a proxy of ours."""
        return bool(self["JOB_IMAGES"])

    @property
    def project(self) -> str:
        """The Compose project name: what tells two stacks on one engine apart."""
        return self.passed_on.get("COMPOSE_PROJECT_NAME") or "windrose"

    @property
    def subnets(self) -> dict[str, str]:
        """SUBNET cut into one piece a network; {} where Docker chooses."""
        names = ("DATABASE", "BROKER", "FRONT", "JOBS")
        if not self["SUBNET"]:
            return {}
        pieces = IPv4Network(self["SUBNET"]).subnets(prefixlen_diff=2)
        return {name: str(piece) for name, piece in zip(names, pieces, strict=False)}


def load(env_file: Path = ROOT / ".env") -> Settings:
    """Read `.env`, let the environment override it, and check everything before anything acts on it."""
    values = {setting.key: setting.default for setting in SETTINGS}
    options: dict[str, str] = {}
    passed_on: dict[str, str] = {}
    given: set[str] = set()
    problems: list[KitError] = []
    for where, key, text in [*_read_lines(env_file, problems), *_from_environment()]:
        try:
            if key in _BY_KEY:
                # An empty value means the default, as `KEY=` does in Compose's own files.
                values[key] = _BY_KEY[key].check(text) if text else _BY_KEY[key].default
                given.update({key} if text else ())
            elif key.startswith("AIRFLOW__"):
                options[_airflow_option(key)] = text
            elif key.startswith(PASSED_ON):
                passed_on[key] = text
            else:
                raise KeyError(key)
        except ValueError as error:
            problems.append(KitError(where, f"{key} is {_shown(key, text)}", f"write {error}"))
        except KeyError as error:
            problems.append(KitError(where, f"{key} is not a setting", _nearest(key, str(error.args[0]))))
    problems += _incomplete(values)
    if problems:
        raise Problems(problems)
    return Settings(values, options, passed_on, frozenset(given))


def _incomplete(values: Mapping[str, str]) -> list[KitError]:
    """Name each setting that means nothing without another one."""
    together = ("IMAGE_REGISTRY_USER", "IMAGE_REGISTRY_PASSWORD")
    found = []
    if any(values[key] for key in together):
        missing = [key for key in ("IMAGE_REGISTRY", *together) if not values[key]]
        found = [KitError(".env", f"{key} is not set, and a login needs it", f"set {key} too") for key in missing]
    return found


def _read_lines(env_file: Path, problems: list[KitError]) -> list[tuple[str, str, str]]:
    try:
        text = env_file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except PermissionError as error:
        raise KitError(env_file.name, "cannot be read by you", f"run `sudo chown {os.getuid()} .env`") from error
    except UnicodeDecodeError as error:
        raise KitError(env_file.name, "is not UTF-8 text", "save it as UTF-8") from error
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.match(line.strip())
        if match is None:
            problems.append(KitError(f"{env_file.name} line {number}", "is not KEY=value", "write it so or delete it"))
            continue
        found.append((f"{env_file.name} line {number}", match["key"], _unquoted(match["value"])))
    return found


def _unquoted(value: str) -> str:
    value = value.strip()
    if value[:1] in ("'", '"') and value.count(value[0]) >= 2:
        return value[1 : value.index(value[0], 1)]
    return re.split(r"\s#", value, maxsplit=1)[0].strip()


def _from_environment() -> list[tuple[str, str, str]]:
    """Return what the caller's environment sets; lower-case proxy names count, as they do for curl and git."""
    found = []
    for key in _BY_KEY:
        value = os.environ.get(key) or (os.environ.get(key.lower(), "") if key.endswith("_PROXY") else "")
        if value:
            found.append(("the environment", key, value))
    if os.environ.get("COMPOSE_PROJECT_NAME"):
        found.append(("the environment", "COMPOSE_PROJECT_NAME", os.environ["COMPOSE_PROJECT_NAME"]))
    return found


@cache
def airflow_option_names() -> frozenset[str]:
    """Return every option the locked Airflow and its providers know, as `section.key`."""
    return frozenset(OPTION_LIST.read_text(encoding="utf-8").split())


def _airflow_option(key: str) -> str:
    section, _, name = key.removeprefix("AIRFLOW__").partition("__")
    option = f"{section}.{name}".lower()
    if option in OWNED_OPTIONS:
        raise KeyError(f"{key} (Windrose sets it itself)")
    if option not in airflow_option_names() and not option.startswith(FREE_SECTIONS):
        raise KeyError(key)
    return option


def _nearest(key: str, told: str) -> str:
    if told.endswith("(Windrose sets it itself)"):
        return "delete it: Windrose sets this option itself, with the stack's own secrets and addresses"
    if key.startswith("AIRFLOW__"):
        known = ["AIRFLOW__" + "__".join(name.split(".", 1)).upper() for name in airflow_option_names()]
    else:
        known = list(_BY_KEY)
    near = difflib.get_close_matches(key.upper(), known, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else "see .env.example for all of them"


def _shown(key: str, value: str) -> str:
    """Return the value for a message, unless it may hold a password."""
    may_hold_password = ("INDEX", "PROXY", "PASSWORD", "MIRROR")
    return "not usable" if any(word in key for word in may_hold_password) else f"{value!r}"


def arguments() -> Mapping[str, str]:
    """Return what was given to make (`make logs SERVICE=postgres`), '' where nothing was."""
    return _Arguments(os.environ)


class _Arguments(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return ""


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for a program we start."""
    return {**os.environ, **(extra or {})}


def host_ca_bundle() -> Path | None:
    """Return the CA certificates this machine itself trusts: a build must pass the same proxies."""
    named = [os.environ.get(key, "") for key in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE")]
    usual = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"]
    return next((Path(name) for name in [*named, *usual] if name and Path(name).is_file()), None)


def env_example() -> str:
    """Return `.env.example`: every setting, its default, one line each."""
    head = (
        "# Every setting with its default. Copy a line to `.env` (never in git) to change it; `make up` applies it.\n"
    )
    foot = (
        "\n# Any Airflow option: AIRFLOW__SECTION__KEY=value, checked against the options of this Airflow.\n"
        "# AIRFLOW__CORE__DEFAULT_TIMEZONE=Europe/Helsinki\n"
        "# COMPOSE_*, DOCKER_* and X_* are passed on as they are.\n"
        "# COMPOSE_PROJECT_NAME=windrose\n"
    )
    lines = [f"\n# {setting.help}\n# {setting.key}={setting.default}\n" for setting in SETTINGS]
    return head + "".join(lines) + foot
