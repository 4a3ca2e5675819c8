"""Does the login limiter slow down guessing, and nobody else?"""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlencode

import pytest
from windrose.login_limiter import (
    CEILING,
    FREE_FAILURES,
    LONGEST_DELAY,
    MOST_KNOWN,
    LoginLimiter,
    LoginLimiterMiddleware,
)
from windrose.login_request import LARGEST_BODY, LoginKind, Outcome, login_kind, outcome_of

FORM = {b"content-type": b"application/x-www-form-urlencoded"}
JSON = {b"content-type": b"application/json"}


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def limiter(clock):
    return LoginLimiter(clock)


def fail(limiter, name="admin"):
    wait = limiter.admit(name)
    if not wait:
        limiter.finish(name, Outcome.WRONG)
    return wait


def test_first_failures_cost_nothing(limiter):
    waits = [fail(limiter) for _ in range(FREE_FAILURES + 1)]

    assert waits == [0] * (FREE_FAILURES + 1)


def test_delay_doubles_up_to_a_minute(limiter, clock):
    for _ in range(FREE_FAILURES + 1):
        fail(limiter)

    delays = []
    for _ in range(9):
        delays.append(limiter.admit("admin"))
        clock.now += delays[-1]
        fail(limiter)

    assert delays == [1, 2, 4, 8, 16, 32, 60, 60, LONGEST_DELAY]


def test_refused_attempts_do_not_lengthen_the_delay(limiter, clock):
    for _ in range(FREE_FAILURES + 1):
        fail(limiter)

    for _ in range(100):
        limiter.admit("admin")
    clock.now += 1

    assert limiter.admit("admin") == 0


def test_success_resets_the_account(limiter, clock):
    for _ in range(FREE_FAILURES + 1):
        fail(limiter)
    clock.now += 1

    limiter.admit("admin")
    limiter.finish("admin", Outcome.RIGHT)

    assert [fail(limiter) for _ in range(FREE_FAILURES + 1)] == [0] * (FREE_FAILURES + 1)


def test_untried_password_counts_for_nothing(limiter):
    for _ in range(200):
        assert limiter.admit("admin") == 0
        limiter.finish("admin", Outcome.NOT_TRIED)

    assert len(limiter) == 0


def test_one_account_does_not_slow_another(limiter):
    for _ in range(FREE_FAILURES + 1):
        fail(limiter, "admin")

    assert (limiter.admit("admin"), limiter.admit("guest")) == (1.0, 0)


def test_many_at_once_are_admitted_like_one_after_another(limiter):
    admitted = [limiter.admit("admin") == 0 for _ in range(100)]

    assert admitted.count(True) == FREE_FAILURES + 1


def test_one_at_a_time_is_admitted_after_the_free_failures(limiter, clock):
    for _ in range(FREE_FAILURES + 1):
        fail(limiter)
    clock.now += 1

    assert [limiter.admit("admin") for _ in range(5)] == [0, 1.0, 1.0, 1.0, 1.0]


def test_spraying_names_meets_the_ceiling(limiter):
    refused = [fail(limiter, f"name-{number}") for number in range(CEILING + 40)]

    assert [wait > 0 for wait in refused] == [False] * CEILING + [True] * 40


def test_ceiling_counts_attempts_still_open(limiter):
    admitted = [limiter.admit(f"name-{number}") == 0 for number in range(CEILING * 2)]

    assert admitted.count(True) == CEILING


def test_ceiling_lets_in_who_has_logged_in_before(limiter):
    limiter.admit("owner")
    limiter.finish("owner", Outcome.RIGHT)

    for number in range(CEILING):
        fail(limiter, f"name-{number}")

    assert (limiter.admit("owner"), limiter.admit("stranger")) == (0, 60)


def test_ceiling_gives_back_attempts_as_the_minute_slides(limiter, clock):
    for number in range(CEILING):
        fail(limiter, f"name-{number}")
        clock.now += 1

    assert limiter.admit("stranger") == 0


def test_quiet_accounts_are_forgotten(limiter, clock):
    for hour in range(50):
        for number in range(CEILING):
            fail(limiter, f"name-{hour}-{number}")
        clock.now += 3600

    fail(limiter)

    assert len(limiter) == 1


def test_known_accounts_are_bounded(limiter):
    for number in range(MOST_KNOWN + 100):
        limiter.admit(f"name-{number}")
        limiter.finish(f"name-{number}", Outcome.RIGHT)

    assert len(limiter) == MOST_KNOWN


# The ASGI edge, before a tiny app with one right password.


class TinyAirflow:
    """Answers like Airflow's login routes; holds each answer until `gate` opens."""

    def __init__(self):
        self.bodies = []
        self.gate = None

    async def __call__(self, scope, receive, send):
        message = await receive()
        self.bodies.append(message["body"])
        if self.gate:
            await self.gate.wait()
        is_right = b"right" in message["body"]
        headers = []
        if scope["path"].endswith("login/"):
            status = 302
            headers = [(b"location", b"/dags" if is_right else b"/auth/login/?next=%2F")]
            headers += [(b"set-cookie", b"session=new.signature; Path=/")] if is_right else []
        else:
            status = 201 if is_right else 401
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


def request(app, path, body, headers=None, *, root_path="", method="POST"):
    """Return a coroutine that makes one request and gives (status, headers, body)."""

    async def run():
        answered = []
        parts = [body[start : start + 1000] for start in range(0, len(body), 1000)] or [b""]

        async def receive():
            if not parts:
                return {"type": "http.disconnect"}
            part = parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(parts)}

        async def send(message):
            answered.append(message)

        scope = {"type": "http", "method": method, "path": path, "root_path": root_path}
        await app({**scope, "headers": list((headers or FORM).items())}, receive, send)
        return answered[0]["status"], dict(answered[0]["headers"]), answered[1]["body"]

    return run()


def form(name="admin", password="wrong"):
    return urlencode({"csrf_token": "x", "username": name, "password": password}).encode()


def token(name="admin", password="wrong"):
    return json.dumps({"username": name, "password": password}).encode()


@pytest.fixture
def tiny():
    return TinyAirflow()


@pytest.fixture
def app(tiny, limiter):
    return LoginLimiterMiddleware(tiny, limiter)


def exhaust(app):
    for _ in range(FREE_FAILURES + 1):
        asyncio.run(request(app, "/auth/login/", form()))


def test_form_is_answered_in_plain_text_while_it_waits(app, tiny):
    exhaust(app)
    asked = len(tiny.bodies)

    status, headers, body = asyncio.run(request(app, "/auth/login/", form()))

    assert (status, headers[b"retry-after"], body) == (429, b"1", b"Too many wrong passwords. Try again in 1 s.\n")
    assert headers[b"content-type"].startswith(b"text/plain")
    assert len(tiny.bodies) == asked


@pytest.mark.parametrize("path", ["/auth/token", "/auth/token/cli"])
def test_program_is_answered_in_json_while_it_waits(app, path):
    exhaust(app)

    status, headers, body = asyncio.run(request(app, path, token(), JSON))

    assert (status, headers[b"retry-after"]) == (429, b"1")
    assert json.loads(body) == {"detail": "Too many wrong passwords. Try again in 1 s."}


@pytest.mark.parametrize("name", ["ADMIN", "Admin", "aDmIn"])
def test_case_of_the_name_does_not_matter(app, name):
    exhaust(app)

    status, _, _ = asyncio.run(request(app, "/auth/login/", form(name)))

    assert status == 429


def test_right_password_passes_and_resets(app, tiny, clock):
    exhaust(app)
    clock.now += 1

    right, _, _ = asyncio.run(request(app, "/auth/token", token(password="right"), JSON))
    after, _, _ = asyncio.run(request(app, "/auth/token", token(), JSON))

    assert (right, after) == (201, 401)


def test_right_password_is_not_tried_while_it_waits(app, tiny):
    exhaust(app)

    status, _, _ = asyncio.run(request(app, "/auth/token", token(password="right"), JSON))

    assert status == 429


def test_body_reaches_the_app_unchanged(app, tiny):
    body = form(password="x" * 5000)

    asyncio.run(request(app, "/auth/login/", body))

    assert tiny.bodies == [body]


def test_large_body_is_refused_unread(app, tiny):
    status, _, _ = asyncio.run(request(app, "/auth/token", b"x" * (LARGEST_BODY + 1), JSON))

    assert (status, tiny.bodies) == (413, [])


def test_multipart_form_is_refused(app, tiny):
    headers = {b"content-type": b"multipart/form-data; boundary=x"}

    status, _, _ = asyncio.run(request(app, "/auth/login/", b"--x--", headers))

    assert (status, tiny.bodies) == (415, [])


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"username": ["admin"]}', b"[" * 60_000])
def test_token_body_without_a_name_is_left_to_airflow(app, body):
    status, _, _ = asyncio.run(request(app, "/auth/token", body, JSON))

    assert status == 401


def test_many_parallel_attempts_do_not_slip_through(app, tiny):
    async def attack():
        tiny.gate = asyncio.Event()
        attempts = [asyncio.create_task(request(app, "/auth/token", token(), JSON)) for _ in range(200)]
        await asyncio.sleep(0.05)
        tiny.gate.set()
        return [status for status, _, _ in await asyncio.gather(*attempts)]

    statuses = asyncio.run(attack())

    assert (statuses.count(401), statuses.count(429)) == (FREE_FAILURES + 1, 200 - FREE_FAILURES - 1)


def test_crash_of_the_app_leaves_no_attempt_open(limiter):
    async def broken(scope, receive, send):
        raise RuntimeError("no database")

    for _ in range(20):
        with pytest.raises(RuntimeError):
            asyncio.run(request(LoginLimiterMiddleware(broken, limiter), "/auth/token", token(), JSON))

    assert len(limiter) == 0


def test_other_requests_pass_untouched(app, tiny):
    exhaust(app)

    status, _, _ = asyncio.run(request(app, "/auth/login/", form(), method="GET"))

    assert status == 302


@pytest.mark.parametrize(
    ("path", "root_path", "kind"),
    [
        ("/auth/login/", "", LoginKind.FORM),
        ("/auth/login", "", LoginKind.FORM),
        ("/auth//login/", "", LoginKind.FORM),
        ("/auth/token", "", LoginKind.TOKEN),
        ("/auth/token/cli", "", LoginKind.TOKEN),
        ("/team/auth/token", "/team", LoginKind.TOKEN),
        ("/auth/token", "/team", LoginKind.TOKEN),
        ("/team/auth/token", "", None),
        ("/teams/auth/token", "/team", None),
        ("/auth/logout", "", None),
        ("/api/v2/dags", "", None),
    ],
)
def test_login_routes_are_found_below_the_base_url(path, root_path, kind):
    scope = {"type": "http", "method": "POST", "path": path, "root_path": root_path}

    assert login_kind(scope) == kind


def answer_of_form(location, brought=b"session=old.x", given=b"session=new.y; Path=/", status=302):
    scope = {"headers": [(b"cookie", brought)]}
    start = {"status": status, "headers": [(b"location", location), (b"set-cookie", given)]}
    return outcome_of(LoginKind.FORM, scope, start)


@pytest.mark.parametrize(
    ("answered", "outcome"),
    [
        pytest.param({"location": b"/dags"}, Outcome.RIGHT, id="sent on with a new session"),
        pytest.param({"location": b"/auth/login/?next=%2F"}, Outcome.WRONG, id="sent back to the form"),
        pytest.param({"location": b"http://h/team/auth/login/"}, Outcome.WRONG, id="sent back below a base url"),
        pytest.param(
            {"location": b"/", "given": b"session=old.z; Path=/"}, Outcome.NOT_TRIED, id="already logged in before"
        ),
        pytest.param(
            {"location": b"/", "brought": b'session="\\156ew.y"'}, Outcome.NOT_TRIED, id="session in disguise"
        ),
        pytest.param({"location": b"", "status": 400}, Outcome.NOT_TRIED, id="no CSRF token"),
        pytest.param({"location": b"", "status": 200}, Outcome.NOT_TRIED, id="an empty field"),
        pytest.param({"location": b"/auth/login/", "status": 308}, Outcome.NOT_TRIED, id="without the slash"),
    ],
)
def test_answer_of_the_form_tells_the_outcome(answered, outcome):
    assert answer_of_form(**answered) == outcome
