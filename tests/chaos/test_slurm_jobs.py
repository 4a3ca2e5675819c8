"""Fifty jobs, and everything between them and their tasks killed in turn: fifty jobs in accounting, not fifty-one."""

from __future__ import annotations

from collections import Counter

from tests.engine_support import Stack
from tests.slurm_chaos import ENDED, Jobs

JOBS = 50
SECONDS = 150  # for which a job runs: longer than it takes to kill everything else


def test_every_job_runs_once_and_every_task_tells_how_it_ended(demo: Stack) -> None:
    jobs = Jobs(demo, [n if n % 7 == 3 else 0 for n in range(JOBS)], SECONDS)
    jobs.start()

    jobs.strike_the_submits(cuts=6)
    jobs.wait_for("deferred", *ENDED, within=400)
    jobs.tell("every job is submitted")
    jobs.strike_the_rest(pause=15)
    jobs.wait_for(*ENDED, within=600)
    jobs.tell("every task has ended")

    assert len(jobs.jobs()) == JOBS
    assert jobs.truth() == jobs.expected()
    assert Counter(jobs.jobs().values()) == Counter(state for _, state, _ in jobs.truth())
