"""How often may somebody try a password? A growing delay an account, and a ceiling for all accounts together.

Airflow's own limit counts by address, and behind Docker's gateway everybody has the same one; it also leaves
`/auth/token` open. This one counts by account name, on every route that takes a password.

The ceiling bounds the trying of one password on many names. It must not shut out the people who belong here while
somebody else attacks, so an account that has logged in since the server started is exempt from it (its own delay
still holds); a name never seen waits for one of the attempts that the sliding minute gives back all the time.

The state is in memory, one an api-server process: with `[api] workers` = n, an attacker gets n times as much.
"""

from __future__ import annotations

import logging
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from windrose.login_request import (
    App,
    ClientGone,
    LoginKind,
    Message,
    Outcome,
    Receive,
    Refused,
    Scope,
    Send,
    account_name,
    answer,
    login_kind,
    outcome_of,
    read_body,
    replay,
)

log = logging.getLogger(__name__)

FREE_FAILURES = 5
LONGEST_DELAY = 60.0
CEILING = 60
CEILING_WINDOW = 60.0
FORGET_AFTER = 900.0
MOST_ACCOUNTS = 10_000
MOST_KNOWN = 1_000


@dataclass(slots=True)
class Account:
    """What is remembered of one name."""

    failures: int = 0
    pending: int = 0
    blocked_until: float = 0.0
    last_failure: float = 0.0


class LoginLimiter:
    """Decide who may try a password now; knows no HTTP.

    Every admitted attempt must be finished, whatever came of it. Until then it counts as a failure, so that many
    attempts at once do not slip through before the first has failed.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with no name known."""
        self._clock = clock
        self._accounts: OrderedDict[str, Account] = OrderedDict()
        self._known: OrderedDict[str, None] = OrderedDict()
        self._failed_at: deque[float] = deque()
        self._pending = 0

    def admit(self, name: str) -> float:
        """Return 0 and expect the attempt to be finished, or return the seconds to wait."""
        now = self._clock()
        self._forget(now)
        account = self._accounts.get(name, Account())
        if account.blocked_until > now:
            return account.blocked_until - now
        if account.pending and account.failures + account.pending > FREE_FAILURES:
            return 1.0
        if name not in self._known and len(self._failed_at) + self._pending >= CEILING:
            return max(1.0, self._failed_at[0] + CEILING_WINDOW - now) if self._failed_at else 1.0
        account.pending += 1
        self._pending += 1
        self._accounts[name] = account
        return 0.0

    def finish(self, name: str, outcome: Outcome) -> None:
        """Record what came of an admitted attempt."""
        account = self._accounts[name]
        account.pending -= 1
        self._pending -= 1
        if outcome is Outcome.RIGHT:
            account.failures, account.blocked_until = 0, 0.0
            self._remember(name)
        elif outcome is Outcome.WRONG:
            self._count_failure(name, account)
        if not account.failures and not account.pending:
            del self._accounts[name]

    def __len__(self) -> int:
        """Return how many names are held in memory."""
        return len(self._accounts) + len(self._known)

    def _count_failure(self, name: str, account: Account) -> None:
        now = self._clock()
        account.failures += 1
        account.last_failure = now
        self._failed_at.append(now)
        self._accounts.move_to_end(name)
        if account.failures > FREE_FAILURES:
            delay = min(2.0 ** min(account.failures - FREE_FAILURES - 1, 10), LONGEST_DELAY)
            account.blocked_until = now + delay
            # Without the name: people type passwords into that field. Airflow's own line before this one has it.
            log.warning("%d wrong passwords in a row for one account: no try for %.0f s", account.failures, delay)

    def _remember(self, name: str) -> None:
        self._known[name] = None
        self._known.move_to_end(name)
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)

    def _forget(self, now: float) -> None:
        while self._failed_at and self._failed_at[0] <= now - CEILING_WINDOW:
            self._failed_at.popleft()
        while self._accounts:
            name, oldest = next(iter(self._accounts.items()))
            if oldest.pending or (now - oldest.last_failure < FORGET_AFTER and len(self._accounts) <= MOST_ACCOUNTS):
                return
            del self._accounts[name]


class LoginLimiterMiddleware:
    """Stand before Airflow's login routes and ask the limiter first."""

    def __init__(self, app: App, limiter: LoginLimiter | None = None) -> None:
        """Stand before `app`."""
        self.app = app
        self.limiter = LoginLimiter() if limiter is None else limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on, except a login that has to wait."""
        kind = login_kind(scope)
        if kind is None:
            await self.app(scope, receive, send)
            return
        try:
            body = await read_body(receive)
            name = account_name(kind, scope, body)
        except ClientGone:
            return
        except Refused as refused:
            await answer(send, kind, refused.status, refused.sentence)
            return
        wait = self.limiter.admit(name)
        if wait > 0:
            sentence = f"Too many wrong passwords. Try again in {math.ceil(wait)} s."
            await answer(send, kind, 429, sentence, wait=wait)
            return
        await self._ask(name, kind, (scope, replay(body, receive), send))

    async def _ask(self, name: str, kind: LoginKind, request: tuple[Scope, Receive, Send]) -> None:
        """Let Airflow check the password, and learn from its answer before the client does."""
        scope, receive, send = request
        is_open = True

        async def send_and_learn(message: Message) -> None:
            nonlocal is_open
            if is_open and message["type"] == "http.response.start":
                is_open = False
                self.limiter.finish(name, outcome_of(kind, scope, message))
            await send(message)

        try:
            await self.app(scope, receive, send_and_learn)
        finally:
            if is_open:
                self.limiter.finish(name, Outcome.NOT_TRIED)
