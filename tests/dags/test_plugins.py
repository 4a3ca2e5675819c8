"""Does the plugin load in a real Airflow, and does a real login meet the limiter?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("airflow.providers.fab")

ROOT = Path(__file__).resolve().parents[2]


def in_airflow(tmp_path, program, *, base_url=""):
    """Run a program in a process of its own, beside an Airflow with an empty SQLite database; return what it prints."""
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")},
        "PYTHONPATH": str(ROOT / "plugins"),
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
        "AIRFLOW__FAB__AUTH_RATE_LIMITED": "False",
        "AIRFLOW__FAB__CONFIG_FILE": str(ROOT / "config" / "webserver_config.py"),
        "AIRFLOW__API__BASE_URL": base_url,
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        "WINDROSE_ADMIN_USER": "admin",
    }
    password = tmp_path / "password"
    password.write_text("correct-horse-battery\n")
    environment["WINDROSE_ADMIN_PASSWORD_FILE"] = str(password)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(program)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if line.strip()]


def test_plugin_loads_and_nothing_else_becomes_a_module(tmp_path):
    *_, printed = in_airflow(
        tmp_path,
        """
        import json, sys
        from pathlib import Path
        from airflow import plugins_manager
        plugins, errors = plugins_manager._get_plugins()
        folder = Path("plugins").resolve()
        loaded = [name for name, module in list(sys.modules.items())
                  if (getattr(module, "__file__", None) or "").startswith(str(folder)) and "." not in name]
        print(json.dumps([[plugin.name for plugin in plugins], errors, sorted(loaded)]))
        """,
    )
    names, errors, loaded = json.loads(printed)

    assert ("windrose" in names, errors) == (True, {})
    assert loaded == ["windrose", "windrose_plugin"]


def test_task_runner_is_told_before_it_reads_the_dag():
    """The order of the two calls in Airflow is what the memory guard stands on."""
    import inspect

    from airflow.sdk.execution_time import task_runner

    source = inspect.getsource(task_runner.startup)

    assert 0 < source.index("on_starting(component=TaskRunnerMarker())") < source.index("parse(msg, log)")


LOGIN = """
    import json, re, runpy, sys
    prefix = {prefix!r}
    sys.argv = ["prepare_database.py"]
    for _ in range(2):
        try:
            runpy.run_path("scripts/in_airflow/prepare_database.py", run_name="__main__")
        except SystemExit as end:
            assert end.code == 0
    import time
    from airflow.api_fastapi.app import create_app
    from starlette.testclient import TestClient
    from windrose.login_limiter import LoginLimiter

    # A clock of our own: the first waits are of one and two seconds, and a busy machine takes as long to answer.
    now = [time.monotonic()]
    LoginLimiter.__init__.__defaults__ = (lambda: now[0],)
    app = create_app(apps="core")
    def client():
        return TestClient(app, base_url="http://testserver", follow_redirects=False, root_path="")
    def csrf(browser):
        page = browser.get(prefix + "/auth/login/").text
        return re.search('name="csrf_token"[^>]*value="([^"]+)"', page).group(1)
    def form(browser, name, password, field):
        data = dict(csrf_token=field, username=name, password=password)
        return browser.post(prefix + "/auth/login/", data=data).status_code
    def token(name, password, path="/auth/token"):
        return client().post(prefix + path, json=dict(username=name, password=password)).status_code
    out = {{}}
    browser = client(); field = csrf(browser)
    out["wrong"] = [form(browser, "guest", "x", field) for _ in range(6)]
    out["waits"] = [form(browser, "GUEST", "x", field), token("guest", "x"), token("guest", "x", "/auth/token/cli")]
    out["no csrf"] = form(client(), "other", "x", "none")
    out["other"] = token("other", "x")
    out["half"] = [token("admin", "x") for _ in range(4)]
    out["right"] = form(browser, "admin", "correct-horse-battery", field)
    out["reset"] = [token("admin", "x") for _ in range(6)] + [token("admin", "x")]
    # Somebody logged in cannot wipe the slate of another name by sending the form again.
    field = csrf(client())
    out["slate"] = [token("victim", "x") for _ in range(6)]
    now[0] += 1.1
    out["again"] = form(browser, "victim", "x", field)
    out["twice"] = [token("victim", "x"), token("victim", "x")]
    print(json.dumps(out))
"""


@pytest.mark.parametrize("prefix", ["", "/team"])
def test_login_of_a_real_airflow_meets_the_limiter(tmp_path, prefix):
    base_url = f"http://testserver{prefix}" if prefix else ""

    *lines, printed = in_airflow(tmp_path, LOGIN.format(prefix=prefix), base_url=base_url)
    found = json.loads(printed)

    assert [line.split(" ")[1] for line in lines if line.startswith("airflow-init:")] == [
        "created",
        "created",
        "the",
        "kept",
    ]
    assert (found["wrong"], found["waits"]) == ([302] * 6, [429] * 3)
    assert (found["no csrf"], found["other"]) == (400, 401)
    assert (found["half"], found["right"], found["reset"]) == ([401] * 4, 302, [401] * 6 + [429])
    assert (found["slate"], found["twice"]) == ([401] * 6, [401, 429])
