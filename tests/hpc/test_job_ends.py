"""Every state that the cluster can produce, and what is made of it: the truth, and a sentence."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from windrose.slurm import states
from windrose.slurm.model import Asked, Record
from windrose.slurm.model import Cluster as AnyCluster
from windrose.slurm.states import STATES, Kind

from tests.engine_support import eventually
from tests.hpc.slurm_jobs import look, new_job, on_cluster, submitted, until_end, until_word, watch
from tests.slurm_support import Cluster

SEEN: set[str] = set()  # by the tests before the last one
TIME_LIMIT = 75  # seconds that a job with the shortest limit takes to be ended


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody wants to wait here for a job that Slurm might start again."""
    monkeypatch.setattr(states, "DETAIL_SECONDS", 4)


@pytest.fixture(scope="module", autouse=True)
def late(slurm: Cluster) -> Iterator[Asked]:
    """A job that reaches its time limit while the other tests run."""
    there = {"nodelist": "demo-1"}
    yield submitted(new_job("trap 'echo saved' TERM; while :; do sleep 1; done", time=1, extra_directives=there))
    slurm.cancel_all()


def test_ends_are_told_as_they_were(slurm: Cluster) -> None:
    jobs = {
        "ended well.": new_job("echo done", time=2),
        "failed with exit code 7.": new_job("exit 7", time=2),
        "failed with exit code 255.": new_job("exit 255", time=2),
        "failed by signal 11 (SIGSEGV).": new_job("kill -SEGV $BASHPID", time=2),
    }

    async def all_ends(cluster: AnyCluster) -> list[str]:
        asked = []
        for job in jobs.values():
            found = await cluster.submit(job)
            asked.append(Asked(job.token, found.job_id, found.folder))  # type: ignore[union-attr]
        ends = await asyncio.gather(*(watch(cluster, one, lambda verdict: verdict.is_end, 60) for one in asked))
        SEEN.update(verdict.word for verdict, _ in ends)
        assert all(seen.facts and seen.facts.source == "accounting" and seen.facts.nodes for _, seen in ends)
        return [verdict.says for verdict, _ in ends]

    assert on_cluster(all_ends) == list(jobs)


def test_job_that_somebody_else_cancels_names_him(slurm: Cluster) -> None:
    asked = submitted(new_job("sleep 60", time=2))
    SEEN.add(until_word(asked, "RUNNING")[0].word)

    slurm.exec("scancel", asked.job_id)

    verdict, seen = until_end(asked)
    SEEN.add(verdict.word)
    assert (verdict.word, verdict.says, seen.record) == ("CANCELLED", "was cancelled by root.", Record(143, 1, 1))


def test_job_past_its_deadline_says_so(slurm: Cluster) -> None:
    job = new_job("true", partition="closed", time=1)
    asked = submitted(job)
    waiting, _ = until_word(asked, "PENDING")
    slurm.exec("scontrol", "update", f"jobid={asked.job_id}", "deadline=now+1seconds")

    verdict, _ = until_end(asked)

    SEEN.update({waiting.word, verdict.word})
    assert (waiting.never_starts != "", verdict.word, "deadline" in verdict.says) == (True, "DEADLINE", True)


def test_job_that_is_suspended_still_runs_and_goes_on(slurm: Cluster) -> None:
    asked = submitted(new_job("sleep 15", time=2))
    until_word(asked, "RUNNING")
    slurm.exec("scontrol", "suspend", asked.job_id)
    verdict, _ = until_word(asked, "SUSPENDED")
    slurm.exec("scontrol", "resume", asked.job_id)

    SEEN.add(verdict.word)
    assert (verdict.kind, until_end(asked)[0].kind) == (Kind.RUNNING, Kind.WELL)


@pytest.mark.usefixtures("impatient")
def test_job_that_gives_way_has_ended_and_one_that_is_requeued_has_not(slurm: Cluster) -> None:
    words = {"extra_directives": {"nodelist": "demo-2"}, "cpus": 24, "memory": "1G", "time": 5}
    standby = submitted(new_job("sleep 60", qos="standby", **words))
    again = submitted(new_job("echo begun; sleep 60", qos="requeued", **words))
    for asked in (standby, again):
        until_word(asked, "RUNNING")
    urgent = submitted(new_job("sleep 1", qos="urgent", **{**words, "cpus": 48}))

    verdict, _ = until_end(standby)
    assert (verdict.word, until_end(urgent)[0].kind) == ("PREEMPTED", Kind.WELL)
    waiting, seen = until_word(again, "PENDING")
    on_cluster(lambda cluster: cluster.cancel(again.token))

    SEEN.update({verdict.word, waiting.word})
    assert (waiting.kind, seen.record) == (Kind.WAITING, None)


def test_job_that_was_requeued_by_hand_waits_and_keeps_its_output(slurm: Cluster) -> None:
    asked = submitted(new_job("echo begun; sleep 60", time=2))
    until_word(asked, "RUNNING")
    eventually(lambda: look(asked).out == b"begun\n", within=20)

    slurm.exec("scontrol", "requeue", asked.job_id)

    verdict, _ = until_word(asked, "PENDING")
    on_cluster(lambda cluster: cluster.cancel(asked.token))
    assert (verdict.kind, look(asked).out) == (Kind.WAITING, b"begun\n")


@pytest.mark.usefixtures("impatient")
def test_job_whose_node_is_lost_says_that_it_is_not_to_blame(slurm: Cluster) -> None:
    asked = submitted(new_job("sleep 60", requeue=False, extra_directives={"nodelist": "demo-2"}, time=2))
    until_word(asked, "RUNNING")
    slurm.exec("scontrol", "update", "nodename=demo-2", "state=down", "reason=test")
    try:
        verdict, _ = until_end(asked)
    finally:
        # It may have come back by itself.
        slurm.exec("scontrol", "update", "nodename=demo-2", "state=resume", check=False)

    SEEN.add(verdict.word)
    assert (verdict.word, "nothing is wrong with the job itself" in verdict.says) == ("NODE_FAIL", True)


def test_job_that_needs_more_memory_says_how_much_was_seen(slurm: Cluster) -> None:
    asked = submitted(new_job("(head -c 200m /dev/zero; sleep 30) | tail -c 200m >/dev/null", memory="50M", time=2))
    until_end(asked)
    slurm.say_ended_as(asked.job_id, "OUT_OF_MEMORY")

    verdict, seen = until_end(asked)

    assert (verdict.word, "`memory=`" in verdict.says) == ("OUT_OF_MEMORY", True)
    assert seen.facts and seen.facts.memory > 150 * 1024**2


def test_array_is_counted_and_ends_as_its_worst_element(slurm: Cluster) -> None:
    command = 'echo "element $SLURM_ARRAY_TASK_ID"; echo "trouble" >&2; exit $((SLURM_ARRAY_TASK_ID == 2 ? 5 : 0))'
    asked = submitted(new_job(command, array="0-3%2", time=2))

    verdict, seen = until_end(asked)

    assert (verdict.kind, verdict.code, seen.record) == (Kind.BADLY, 5, Record(5, 4, 1))
    assert seen.facts and dict(seen.facts.elements) == {"COMPLETED": 3, "FAILED": 1}
    assert on_cluster(lambda cluster: cluster.tail(asked)) == (["element 2"], ["trouble"])


def test_array_of_which_nothing_ran_ends_as_a_whole(slurm: Cluster) -> None:
    asked = submitted(new_job("true", array="0-9", partition="closed", time=2))
    on_cluster(lambda cluster: cluster.cancel(asked.token))

    verdict, seen = until_end(asked)

    assert (verdict.word, seen.facts and dict(seen.facts.elements)) == ("CANCELLED", {"CANCELLED": 10})


def test_hostile_output_arrives_as_it_is_and_changes_nothing(slurm: Cluster) -> None:
    prompt = "printf 'Password: \\033[31mred\\033[0m \\377\\376 done 0\\n-end\\n'"
    long_line = "head -c 1000000 /dev/zero | tr '\\0' z; echo"
    job = new_job(f"{prompt}; {long_line}; echo 'noise' >&2; exit 3", time=2)
    asked = submitted(job)
    hostile = '#!/bin/sh\n#SBATCH --job-name="quote\'$(id)\\" a|b" --time=1 --output=/dev/null\nsleep 20\n'
    slurm.as_user("sbatch", stdin=hostile)

    async def all_of_it(cluster: AnyCluster) -> tuple[int, bytes, bytes]:
        verdict, seen = await watch(cluster, asked, lambda one: one.is_end, 60)
        whole, err = seen.out, seen.err
        while seen.more:
            asked.out, asked.err = seen.out_at, seen.err_at
            seen = (await cluster.look([asked]))[asked.token]
            whole, err = whole + seen.out, err + seen.err
        return verdict.code, whole, err

    code, whole, err = on_cluster(all_of_it)

    assert (code, err) == (3, b"noise\n")
    assert whole == b"Password: \x1b[31mred\x1b[0m \xff\xfe done 0\n-end\n" + b"z" * 1_000_000 + b"\n"


def test_job_at_its_time_limit_could_save_its_work_and_names_the_limit(slurm: Cluster, late: Asked) -> None:
    verdict, seen = until_end(late, within=TIME_LIMIT + 60)

    SEEN.add(verdict.word)
    assert verdict.says == "was ended at its time limit of 00:01:00; give it more with `time=`, or let it do less."
    assert seen.out == b"saved\n"


def test_table_says_truly_which_states_were_seen() -> None:
    told = {word for word, state in STATES.items() if state.seen}

    # Whether the moment in which a job is ending was caught is up to chance.
    assert told - {"COMPLETING"} == SEEN
