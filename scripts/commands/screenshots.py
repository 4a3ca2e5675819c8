"""Take the pictures in docs/ from the running stack, in a real browser."""

from __future__ import annotations

from urllib.parse import quote

from scripts import generated_secrets, runtime, settings
from scripts.airflow_api import list_runs
from scripts.airflow_runs import connect
from scripts.console import progress, say
from scripts.developer_tools import ensure_tools
from scripts.errors import ExitCode, KitError
from scripts.tiers import find_browser

FOLDER = settings.ROOT / "docs" / "images"
SIZE = {"width": 1280, "height": 720}
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
# file name: the page, the button to press there ('' is none), and the text that says that all is there
PAGES = {
    "home.png": ("/", "", "Health"),
    "dags.png": ("/dags", "", "template-fan-out"),
    "form.png": ("/dags/template-fan-out", "Trigger", "Fail on purpose"),
    "job.png": ("/dags/hpc-run-one-job/runs/{latest}/tasks/run_job", "", "step 3"),
    "connections.png": ("/connections", "", "windrose:"),
}
JOB = "hpc-run-one-job"  # whose last run is shown


def run() -> int:
    """Log in and take each picture."""
    chosen = settings.load()
    ensure_tools()
    browser = find_browser(settings.environment())
    if not browser:
        raise KitError("chromium", "is not on PATH", "install it, or set CHROMIUM to its path")
    FOLDER.mkdir(parents=True, exist_ok=True)
    address = runtime.choose(chosen).address()
    runs = list_runs(connect(), JOB, limit=1)
    if not runs:
        raise KitError(JOB, "has no run to show", f"make demo, then make trigger DAG={JOB} WAIT=1")
    password = generated_secrets.read("admin_password")
    take_pictures(browser, address, chosen["ADMIN_USER"], password, latest=quote(runs[0].dag_run_id))
    say(f"took {len(PAGES)} pictures into docs/images/")
    return ExitCode.DONE


def take_pictures(browser: str, address: str, user: str, password: str, *, latest: str) -> None:
    """Drive the browser through the pages."""
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=list(QUIET))
        page = chromium.new_page(viewport={"width": SIZE["width"], "height": SIZE["height"]})
        try:
            page.goto(f"{address}/auth/login/")
            page.fill("input[name=username]", user)
            page.fill("input[name=password]", password)
            page.click("input[type=submit], button[type=submit]")
            page.wait_for_url(lambda url: "login" not in url)
            for name, (path, button, text) in PAGES.items():
                page.goto(address + path.replace("{latest}", latest))
                if button:
                    page.get_by_role("button", name=button).first.click()
                page.get_by_text(text).first.wait_for()
                page.wait_for_timeout(1500)  # charts draw themselves after their text is there
                page.screenshot(path=FOLDER / name)
                progress(f"  {name}")
        except Error as error:
            raise KitError(address, error.message.splitlines()[0], "is the stack healthy? see `make status`") from error
        finally:
            chromium.close()
