"""Is a process of the embedded stack alive and at work? '' is yes, else the reason. Cheap: asked all the time."""

from __future__ import annotations

import json
import socket
import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path

from scripts.embedded_services import Wanted

OLDEST_HEARTBEAT = 30.0
PATIENCE = 5.0
# A killed process leaves a job that still "runs": only one that began after this process did is its own.
JOB = """
    SELECT latest_heartbeat FROM job WHERE job_type = ? AND state = 'running' AND start_date >= ?
    ORDER BY latest_heartbeat DESC LIMIT 1
"""


def probe(wanted: Wanted, since: float, database: Path) -> str:
    """Return why a process that started at `since` cannot be called healthy, '' where it can."""
    if wanted.probe == "api":
        return ask_api(int(wanted.asked))
    if wanted.probe == "job":
        return ask_job(wanted.asked, since, database)
    return ask_file(Path(wanted.asked), since)


def ask_api(port: int) -> str:
    """Ask the API server whether it reaches the database; its status line says 200 either way."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
            connection.sendall(b"GET /api/v2/monitor/health HTTP/1.0\r\nHost: localhost\r\n\r\n")
            answer = b""
            while part := connection.recv(65536):
                answer += part
        status = json.loads(answer.partition(b"\r\n\r\n")[2])["metadatabase"]["status"]
    except (OSError, ValueError, KeyError) as error:
        return f"api-server: no answer ({error})"
    return "" if status == "healthy" else f"api-server: database {status}"


def ask_job(job: str, since: float, database: Path) -> str:
    """Look for the job's heartbeat in the database."""
    begin = datetime.fromtimestamp(since - 1, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    try:
        connection = sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=PATIENCE)
        try:
            row = connection.execute(JOB, (job, begin)).fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        return f"{job}: {error}"
    if row is None:
        return f"{job}: none is running"
    age = time.time() - datetime.fromisoformat(row[0]).replace(tzinfo=UTC).timestamp()
    return f"{job}: the last heartbeat is {age:.0f} s old" if age > OLDEST_HEARTBEAT else ""


def ask_file(path: Path, since: float) -> str:
    """Look at the file that the process touches each time its loop goes round."""
    try:
        touched = path.stat().st_mtime
    except OSError:
        return "no heartbeat yet"
    if touched < since - 1:
        return "no heartbeat yet"
    age = time.time() - touched
    return f"the last heartbeat is {age:.0f} s old" if age > OLDEST_HEARTBEAT else ""
