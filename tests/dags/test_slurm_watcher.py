"""One watcher for all jobs of a platform: how it asks, what it does without a connection, when it ends."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time

import pytest

pytest.importorskip("airflow.providers.ssh")

from windrose.slurm.followed import NO_OUTPUT, News, WatcherEnded
from windrose.slurm.model import AccessError, Asked, ClusterError, Facts, Seen
from windrose.slurm.pace import Pace
from windrose.slurm.watcher import ACTS_AT_ONCE, Watcher, watcher_of

from tests.slurm_fake import FakeCluster, FakeJob

LIMIT = 20  # seconds that nothing here may take
FAST = Pace(young=0.02, old=0.1, steps=5, gap=0.005, retry=0.01, longest_retry=0.05, idle=0.1)
trigger_of = contextvars.ContextVar("trigger_of", default="")


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


def run(test):
    """Run a test's coroutine to its end, and let no watcher go on behind it."""

    async def whole():
        async with asyncio.timeout(LIMIT):
            return await test()

    return asyncio.run(whole())


def asked(number: int) -> Asked:
    return Asked(f"token{number:015d}", str(number), f"/scratch/.windrose/token{number:015d}")


def add_jobs(cluster: FakeCluster, count: int) -> list[Asked]:
    wanted = [asked(number) for number in range(count)]
    cluster.jobs |= {one.token: FakeJob() for one in wanted}
    return wanted


async def next_seen(job) -> tuple[Seen, list[str]]:
    """Return what is seen next, and what was told until then."""
    told: list[str] = []
    while True:
        news = await job.next(LIMIT)
        told += news.told
        if news.seen is not None:
            return news.seen, told


async def until(condition) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def test_thousand_jobs_are_asked_for_in_one_look_over_one_connection(cluster):
    async def scene():
        watcher = Watcher("hpc-demo", cluster.open, FAST)
        jobs = [watcher.follow(one) for one in add_jobs(cluster, 1000)]

        seen = await asyncio.gather(*(job.next(LIMIT) for job in jobs))
        again = await asyncio.gather(*(job.next(LIMIT) for job in jobs))

        assert {news.seen.facts.state for news in (*seen, *again)} == {"RUNNING"}
        return len(cluster.asked[0]), cluster.opened, cluster.most_looking

    assert run(scene) == (1000, 1, 1)


def test_job_is_not_asked_again_until_its_trigger_has_taken_what_was_seen(cluster):
    async def scene():
        watcher = Watcher("hpc-demo", cluster.open, FAST)
        slow, quick = (watcher.follow(one) for one in add_jobs(cluster, 2))

        for _ in range(5):
            await quick.next(LIMIT)

        return [sum(one.token == job.asked.token for look in cluster.asked for one in look) for job in (slow, quick)]

    slow, quick = run(scene)
    assert (slow, quick >= 5) == (1, True)


def test_output_is_fetched_piece_by_piece_without_a_pause(cluster):
    async def scene():
        cluster.piece = 10
        watcher = Watcher("hpc-demo", cluster.open, Pace(young=LIMIT * 2, old=LIMIT * 2, gap=0.001))
        (one,) = add_jobs(cluster, 1)
        cluster.jobs[one.token].out = bytes(range(64, 99))
        job = watcher.follow(one)

        pieces = [(await next_seen(job))[0].out for _ in range(4)]

        return b"".join(pieces), one.out, await job.next(0.05)

    assert run(scene) == (bytes(range(64, 99)), 35, News())


def test_job_whose_output_is_wanted_no_more_is_asked_for_its_state_alone(cluster):
    async def scene():
        watcher = Watcher("hpc-demo", cluster.open, FAST)
        (one,) = add_jobs(cluster, 1)
        cluster.jobs[one.token].out = b"much"
        job = watcher.follow(one)
        first, _ = await next_seen(job)
        job.listen_no_more()
        await next_seen(job)

        second, _ = await next_seen(job)

        return first.out, second.out, one.out, one.err

    assert run(scene) == (b"much", b"", NO_OUTPUT, NO_OUTPUT)


@pytest.mark.parametrize(
    ("quiet", "pause"),
    [(0, 2), (30, 2), (300, 10), (1800, 60), (10**6, 60)],
    ids=["new", "30s", "5min", "30min", "old"],
)
def test_pause_grows_with_the_time_since_something_happened(quiet, pause):
    assert Pace().pause(quiet) == pause


def test_running_job_is_as_old_as_it_says_and_a_change_makes_it_young(cluster):
    async def scene():
        job = Watcher("hpc-demo", cluster.open).follow(asked(1))
        now, pauses = time.monotonic(), []
        for later, facts in (
            (0, Facts(state="PENDING")),
            (900, Facts(state="PENDING")),
            (900, Facts(state="RUNNING")),
            (901, Facts(state="RUNNING", seconds=86400)),
        ):
            job.take(Seen(facts), now + later, Pace())
            pauses.append(round(job.pause))
        return pauses

    assert run(scene) == [2, 30, 2, 60]


def test_lost_connection_is_told_once_and_so_is_its_return(cluster):
    async def scene():
        watcher = Watcher("hpc-demo", cluster.open, FAST)
        jobs = [watcher.follow(one) for one in add_jobs(cluster, 3)]
        await asyncio.gather(*(next_seen(job) for job in jobs))

        cluster.problem = ClusterError("the connection was lost")
        await until(lambda: watcher.failures >= 4)
        late = watcher.follow(asked(3))
        cluster.jobs[late.asked.token] = FakeJob()
        cluster.problem = None

        told = [await told_until_back(job) for job in (*jobs, late)]
        return told, cluster.opened - cluster.closed, cluster.opened >= 5

    lost = "hpc-demo cannot be asked now: the connection was lost. The job goes on meanwhile; asking again."
    assert run(scene) == ([[lost, "hpc-demo answers again"]] * 4, 1, True)


async def told_until_back(job) -> list[str]:
    told: list[str] = []
    while not told or not told[-1].endswith("answers again"):
        told += (await job.next(LIMIT)).told
    return told


def test_expired_certificate_is_waited_for_and_told_once_an_hour(cluster):
    async def scene():
        pace = Pace(young=0.01, gap=0.001, access_retry=0.01, longest_access_retry=0.02)
        watcher = Watcher("hpc-demo", cluster.open, pace)
        (one,) = add_jobs(cluster, 1)
        cluster.problem = AccessError("the certificate beside ~/.ssh/key expired 3 h ago; sign it again")
        job = watcher.follow(one)
        await until(lambda: watcher.failures >= 4)
        first = (await job.next(LIMIT)).told
        job.told_at -= 3601
        await until(lambda: job.told)
        second = (await job.next(LIMIT)).told
        cluster.problem = None
        seen, told = await next_seen(job)
        return first, second, seen.facts.state, told

    needed = (
        "hpc-demo does not let us in: the certificate beside ~/.ssh/key expired 3 h ago; sign it again. "
        "The job goes on meanwhile; asked again once that is mended."
    )
    assert run(scene) == ((needed,), (needed,), "RUNNING", ["hpc-demo answers again"])


def test_pauses_after_failures_grow_and_differ():
    pace = Pace()

    found = [[pace.retry_pause(failures, is_access=False) for _ in range(50)] for failures in (1, 2, 3, 50)]

    assert [(min(some) >= most / 2, max(some) <= most) for some, most in zip(found, (2, 4, 8, 60), strict=True)] == [
        (True, True)
    ] * 4
    assert all(len(set(some)) > 40 for some in found)


def test_cluster_that_names_a_time_is_not_asked_before(cluster):
    async def scene():
        watcher = Watcher("hpc-demo", cluster.open, FAST)
        cluster.problem = ClusterError("429")
        cluster.problem.seconds = 1000
        watcher.follow(asked(1))
        await until(lambda: watcher.failures)
        return watcher.retry_at - time.monotonic() > 900

    assert run(scene)


def test_connection_is_fetched_anew_after_each_failure():
    async def scene():
        broken, whole = FakeCluster(), FakeCluster()
        broken.problem = OSError("no route")
        found = [broken, whole]
        (one,) = add_jobs(whole, 1)

        async def registered(platform: str) -> FakeCluster:
            return found.pop(0)

        seen, _ = await next_seen(Watcher("hpc-demo", registered, FAST).follow(one))
        return seen.facts.state, broken.closed

    assert run(scene) == ("RUNNING", 1)


@pytest.mark.parametrize("error", [KeyError("a mistake"), AttributeError("another")], ids=["key", "attribute"])
def test_mistake_of_ours_is_told_and_asked_again(cluster, caplog, error):
    async def scene():
        watcher = Watcher("hpc-demo", cluster.open, FAST)
        (one,) = add_jobs(cluster, 1)
        cluster.problem = error
        job = watcher.follow(one)
        await until(lambda: watcher.failures >= 2)
        cluster.problem = None
        return (await next_seen(job))[1]

    told = run(scene)

    assert type(error).__name__ in told[0]
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [type(error)]


def test_nothing_that_a_connection_says_is_in_the_context_of_a_trigger(cluster):
    heard: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record):
            heard.append(trigger_of.get())

    async def scene():
        trigger_of.set("a trigger")
        watcher = Watcher("hpc-demo", cluster.open, FAST)
        (one,) = add_jobs(cluster, 1)
        await watcher.follow(one).next(LIMIT)
        await watcher.act(lambda found: found.cancel(one.token), LIMIT)

    listener = Listener()
    logging.getLogger("fake.cluster").addHandler(listener)
    try:
        run(scene)
    finally:
        logging.getLogger("fake.cluster").removeHandler(listener)
    assert len(heard) >= 2
    assert set(heard) == {""}


def test_watcher_ends_with_its_last_job_and_the_next_has_a_new_one(cluster):
    async def scene():
        first = watcher_of("hpc-demo", cluster.open, FAST)
        one, two = add_jobs(cluster, 2)
        job = first.follow(one)
        await job.next(LIMIT)
        same = watcher_of("hpc-demo", cluster.open, FAST) is first
        first.leave(job)
        await asyncio.wait_for(first.task, LIMIT)

        second = watcher_of("hpc-demo", cluster.open, FAST)
        await second.follow(two).next(LIMIT)
        return same, second is first, cluster.opened, cluster.closed

    assert run(scene) == (True, False, 2, 1)


def test_job_that_comes_soon_finds_the_connection_open(cluster):
    async def scene():
        watcher = watcher_of("hpc-demo", cluster.open, Pace(young=0.01, gap=0.001, idle=LIMIT))
        one, two = add_jobs(cluster, 2)
        job = watcher.follow(one)
        await job.next(LIMIT)
        watcher.leave(job)
        await asyncio.sleep(0.1)
        await watcher_of("hpc-demo", cluster.open).follow(two).next(LIMIT)
        return cluster.opened

    assert run(scene) == 1


def test_few_cancels_are_under_way_at_once_and_all_come_to_their_end(cluster):
    async def scene():
        cluster.seconds = 0.002
        watcher = Watcher("hpc-demo", cluster.open, FAST)
        wanted = add_jobs(cluster, 60)
        await asyncio.gather(*(watcher.act(lambda c, t=one.token: c.cancel(t), LIMIT) for one in wanted))
        return sorted(cluster.cancelled) == sorted(one.token for one in wanted), cluster.most_acting

    assert run(scene) == (True, ACTS_AT_ONCE)


def test_cancel_is_tried_again_and_goes_on_without_whoever_asked(cluster):
    async def scene():
        watcher = Watcher("hpc-demo", cluster.open, FAST)
        (one,) = add_jobs(cluster, 1)
        cluster.problem = ClusterError("the connection was lost")
        caller = asyncio.create_task(watcher.act(lambda c: c.cancel(one.token), LIMIT))
        await until(lambda: watcher.failures >= 2)
        caller.cancel()
        await asyncio.wait({caller})
        cluster.problem = None
        await until(lambda: cluster.cancelled)
        return caller.cancelled(), cluster.cancelled == [one.token]

    assert run(scene) == (True, True)


def test_cancel_that_is_not_done_in_time_says_why(cluster):
    async def scene():
        watcher = Watcher("hpc-demo", cluster.open, FAST)
        cluster.problem = ClusterError("no route to host")
        with pytest.raises(ClusterError, match="^no route to host$"):
            await watcher.act(lambda c: c.cancel("token"), 2)

    run(scene)


def test_watcher_that_ends_by_a_mistake_leaves_no_job_waiting(cluster, caplog):
    async def scene():
        watcher = Watcher("hpc-demo", cluster.open, FAST)
        watcher.due = None
        job = watcher.follow(asked(1))
        with pytest.raises(WatcherEnded):
            await job.next(LIMIT)
        return watcher_of("hpc-demo", cluster.open, FAST) is not watcher

    assert run(scene)
    assert "ended by a mistake" in caplog.text
