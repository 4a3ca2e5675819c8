"""When is a job looked at again, and when is a cluster asked again that did not answer?"""

from __future__ import annotations

import random
from dataclasses import dataclass

REMIND = 3600.0  # seconds between two sentences in a log about a trouble that lasts


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast things go, in seconds."""

    young: float = 2.0  # between two looks at a job to which something has just happened
    old: float = 60.0  # and at one that has been as it is for long
    steps: float = 30.0  # the pause is this part of the time since something happened
    gap: float = 1.0  # between two looks, whatever there is to fetch
    retry: float = 2.0  # after the first failure
    longest_retry: float = 60.0
    access_retry: float = 15.0  # where somebody must do something first: sites shut out who knocks too often
    longest_access_retry: float = 300.0
    idle: float = 30.0  # that a connection is kept without a job

    def pause(self, quiet: float) -> float:
        """Return how long a job is left alone to which nothing has happened for so long."""
        return min(self.old, max(self.young, quiet / self.steps))

    def retry_pause(self, failures: int, *, is_access: bool) -> float:
        """Return how long to wait after so many failures: twice as long each time, and never at the same moment."""
        first, longest = self.retry, self.longest_retry
        if is_access:
            first, longest = self.access_retry, self.longest_access_retry
        whole = min(longest, first * 2.0 ** min(failures - 1, 20))
        return float(whole) * random.uniform(0.5, 1.0)  # noqa: S311 - chance, not a secret
