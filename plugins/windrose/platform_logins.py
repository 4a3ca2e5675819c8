"""Can a task log in to a platform, with the hook and the connection that every task uses? And for how long still?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from windrose import certificates
from windrose.certificates import length
from windrose.platform_list import Platform

SECONDS = 20  # for each step of a login
LONGEST = 300  # of what a library says
TOKEN_HOURS = 2.4  # a tenth of the day for which the tokens live that people fetch


@dataclass(slots=True)
class Checked:
    """What came of one platform: a row of the table."""

    platform: str
    type: str
    state: str = "ok"  # ok, expiring, failed, skipped
    seconds: float = 0.0
    certificate_until: str = ""
    says: str = ""

    def row(self) -> dict[str, object]:
        """Return the row as Airflow keeps it."""
        return asdict(self)


def check(platform: Platform, *, hours: float | None) -> Checked:
    """Log in to a platform, and look at its certificate; nothing larger than `true` runs there."""
    name, kind = platform["id"], platform["type"]
    checked = Checked(name, kind)
    log_in = LOGINS.get(kind)
    if log_in is None:
        checked.state = "skipped"
        checked.says = f"{name}: no login is tried for the type {kind}; `make check-platforms` tries name and port."
        return checked
    begun = time.monotonic()
    expiring = check_certificate(checked, hours) if kind in ("ssh", "sftp") else ""
    expiring = check_token(checked, hours) if kind == "firecrest" else expiring
    try:
        log_in(name)
    except Exception as error:  # every library has its own; all of them mean that nobody can work there
        checked.state, checked.says = "failed", login_problem(name, error, expiring)
    else:
        checked.state, checked.says = ("expiring", f"{name}: {expiring}") if expiring else ("ok", "")
    checked.seconds = round(time.monotonic() - begun, 2)
    return checked


def check_certificate(checked: Checked, hours: float | None) -> str:
    """Note how long the certificate is good; return what is wrong with it, '' where nothing is."""
    from airflow.sdk import Connection

    key_file = Connection.get(checked.platform).extra_dejson.get("key_file", "")
    try:
        certificate = certificates.read_certificate(key_file)
    except certificates.DamagedCertificate as error:
        return str(error)
    if certificate is None:
        return ""
    checked.certificate_until = certificates.shown(certificate.ends) if certificate.ends else "no end"
    return certificates.problem_of(certificate, now=datetime.now(UTC), hours=hours)


def check_token(checked: Checked, hours: float | None) -> str:
    """Note how long a token of a file is good; return what is wrong with it, '' where nothing is known to be."""
    from airflow.sdk import Connection

    from windrose.slurm.firecrest_access import read_token, token_ends
    from windrose.slurm.model import AccessError

    token_file = Connection.get(checked.platform).extra_dejson.get("token_file", "")
    try:
        ends = token_ends(read_token(token_file)) if token_file else None
    except AccessError as error:
        return str(error)
    if ends is None:
        return ""
    checked.certificate_until = certificates.shown(ends)
    left = ends - datetime.now(UTC)
    if left > timedelta(hours=TOKEN_HOURS if hours is None else hours):
        return ""
    until = f"ended at {certificates.shown(ends)}" if left <= timedelta() else f"is good for {length(left)} only"
    return f"the token {until}; put a new one into its file: it is taken up within seconds."


def login_problem(name: str, error: Exception, expiring: str) -> str:
    """Return why nobody gets in, in a sentence, with the command that finds the step and the mend."""
    reason = " ".join(str(error).split())[:LONGEST] or type(error).__name__
    also = f" {name}: {expiring}" if expiring else ""
    return f"{name}: no login ({reason.rstrip('.')}); run `make check-platforms PLATFORM={name}`.{also}"


def ssh(name: str) -> None:
    """Log in and run `true`."""
    from airflow.providers.ssh.hooks.ssh import SSHHook

    hook = SSHHook(ssh_conn_id=name, conn_timeout=SECONDS, auth_timeout=SECONDS, conn_retry_attempts=1)
    with hook.get_conn() as client:
        _, said, _ = client.exec_command("true", timeout=SECONDS)
        code = said.channel.recv_exit_status()
    if code != 0:
        raise RuntimeError(f"the login works, but `true` ended with code {code} there")


def sftp(name: str) -> None:
    """Log in and ask for the folder that one arrives in."""
    from airflow.providers.ssh.hooks.ssh import SSHHook

    hook = SSHHook(ssh_conn_id=name, conn_timeout=SECONDS, auth_timeout=SECONDS, conn_retry_attempts=1)
    with hook.get_conn() as client, client.open_sftp() as files:
        files.normalize(".")


def postgres(name: str) -> None:
    """Log in and select 1."""
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    PostgresHook(postgres_conn_id=name, options="-c statement_timeout=20s").get_first("SELECT 1")


def s3(name: str) -> None:
    """Ask for the connection's bucket, or for the list of buckets."""
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from airflow.sdk import Connection
    from botocore.config import Config

    patience = Config(connect_timeout=SECONDS, read_timeout=SECONDS, retries={"total_max_attempts": 1})
    client = S3Hook(aws_conn_id=name, config=patience).get_conn()
    bucket = Connection.get(name).extra_dejson.get("service_config", {}).get("s3", {}).get("bucket_name")
    if bucket:
        client.head_bucket(Bucket=bucket)
    else:
        client.list_buckets()


def http(name: str) -> None:
    """Ask for the address; an answer that is no refusal and no failure of the server will do."""
    from airflow.providers.http.hooks.http import HttpHook

    answer = HttpHook(method="GET", http_conn_id=name).run(
        "", extra_options={"check_response": False, "timeout": SECONDS, "stream": True}
    )
    answer.close()
    if answer.status_code in (401, 403) or answer.status_code >= 500:
        raise RuntimeError(f"the server answers {answer.status_code} {answer.reason}")


def smtp(name: str) -> None:
    """Log in to the mail server; no mail is sent."""
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    with SmtpHook(smtp_conn_id=name):
        return


def firecrest(name: str) -> None:
    """Get a token, and ask the API for the machine; no job and no file of it is touched."""
    from airflow.sdk import Connection

    from windrose.slurm.firecrest_files import is_usable

    asyncio.run(is_usable(Connection.get(name), seconds=SECONDS * 2))


def kubernetes(name: str) -> None:
    """Ask the cluster for its version."""
    from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook

    works, said = KubernetesHook(conn_id=name).test_connection()  # type: ignore[no-untyped-call]
    if not works:
        raise RuntimeError(said)


LOGINS: dict[str, Callable[[str], None]] = {
    "ssh": ssh,
    "sftp": sftp,
    "postgres": postgres,
    "s3": s3,
    "http": http,
    "smtp": smtp,
    "firecrest": firecrest,
    "kubernetes": kubernetes,
}
