"""What is made of Slurm's words: every state, the reasons of waiting, the refusals of sbatch."""

from __future__ import annotations

import pytest
from windrose.slurm import reasons, refusals, states
from windrose.slurm.answers import queue_facts, seconds, sentence, shown, size
from windrose.slurm.model import Asked, Facts, Record, Refused, Seen
from windrose.slurm.remote_look import ENDED
from windrose.slurm.states import STATES, History, Kind, judge

# The pages of Slurm's documentation that list them, of 24.11.
PUBLISHED_STATES = (
    "BOOT_FAIL CANCELLED COMPLETED DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY PENDING PREEMPTED RUNNING SUSPENDED TIMEOUT "
    "COMPLETING CONFIGURING LAUNCH_FAILED POWER_UP_NODE RECONFIG_FAIL REQUEUED REQUEUE_FED REQUEUE_HOLD RESIZING "
    "RESV_DEL_HOLD REVOKED SIGNALING SPECIAL_EXIT STAGE_OUT STOPPED UPDATE_DB"
).split()

FAILED = "sbatch: error: Batch job submission failed: "


def verdict(
    facts: Facts | None = None, record: Record | None = None, accounting: str = "ok", after: float = 0
) -> states.Verdict:
    """Judge what has been the same for so many seconds."""
    history, seen = History(), Seen(facts, record, accounting)
    judge(seen, history, 100.0)
    return judge(seen, history, 100.0 + after)


def ended(state: str, **facts: object) -> Facts:
    return Facts(state=state, source="accounting", **facts)  # type: ignore[arg-type]


def test_every_published_state_is_known_and_no_other() -> None:
    assert sorted(STATES) == sorted(PUBLISHED_STATES)
    assert sorted(ENDED) == sorted(word for word, state in STATES.items() if state.kind in (Kind.WELL, Kind.BADLY))
    assert [word for word, state in STATES.items() if state.kind is Kind.WELL] == ["COMPLETED"]


@pytest.mark.parametrize("word", PUBLISHED_STATES)
def test_state_is_told_in_a_sentence(word: str) -> None:
    source = "accounting" if STATES[word].kind in (Kind.WELL, Kind.BADLY) else "queue"

    found = verdict(Facts(state=word, source=source), after=1000)

    assert (found.kind, found.word, found.says.endswith(".")) == (STATES[word].kind, word, True)


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        (ended("COMPLETED"), "ended well."),
        (ended("FAILED", code=3), "failed with exit code 3."),
        (ended("FAILED", signal=9), "failed by signal 9 (SIGKILL)."),
        (
            ended("TIMEOUT", limit=93600),
            "was ended at its time limit of 1-02:00:00; give it more with `time=`, or let it do less.",
        ),
        (
            ended("OUT_OF_MEMORY", memory=3 * 1024**3),
            "needed more memory than it had asked for (3072 MB were seen); "
            "ask for more with `memory=` or `memory_per_cpu=`.",
        ),
        (ended("CANCELLED", by="maija"), "was cancelled by maija."),
        (ended("CANCELLED"), "was cancelled."),
        (
            ended("FAILED", code=1, reason="BadConstraints"),
            "failed with exit code 1 (BadConstraints: no node is as it asks for); "
            "change `constraint=`, `cpus=`, `memory=`, `gpus=` or `nodes=`.",
        ),
        (ended("FAILED", code=5, reason="JobArrayTaskLimit"), "failed with exit code 5."),
        (
            ended("FAILED", code=5, elements={"COMPLETED": 3, "FAILED": 1}),
            "has 1 of 4 elements that did not end well; one failed with exit code 5.",
        ),
    ],
)
def test_bad_end_says_what_happened_and_what_to_change(facts: Facts, says: str) -> None:
    assert verdict(facts, after=60).says == says


@pytest.mark.parametrize(("code", "recorded", "kept"), [(11, 139, 139), (127, 255, 255), (127, 127, 127), (7, 1, 7)])
def test_exit_code_that_accounting_cuts_is_whole_in_the_record(code: int, recorded: int, kept: int) -> None:
    assert verdict(ended("FAILED", code=code), Record(recorded)).code == kept


def test_unknown_word_is_kept_and_asked_again_for_ever() -> None:
    for source in ("queue", "accounting"):
        found = verdict(Facts(state="EXPEDITING", source=source), after=10_000)

        assert (found.kind, found.word, "EXPEDITING" in found.says) == (Kind.UNKNOWN, "EXPEDITING", True)


def test_nothing_known_anywhere_is_never_an_end() -> None:
    for accounting in ("ok", "Connection refused", "Slurm accounting storage is disabled"):
        assert verdict(accounting=accounting, after=10_000).kind is Kind.UNKNOWN


@pytest.mark.parametrize(
    ("accounting", "after", "kind"),
    [
        ("ok", 10, Kind.UNKNOWN),
        ("ok", 61, Kind.BADLY),
        ("Connection refused", 10, Kind.UNKNOWN),
        ("Connection refused", 61, Kind.BADLY),
        ("Slurm accounting storage is disabled", 0, Kind.BADLY),
    ],
)
def test_record_decides_where_accounting_does_not_answer(accounting: str, after: float, kind: Kind) -> None:
    found = verdict(None, Record(4), accounting, after)

    assert found.kind is kind
    assert kind is Kind.UNKNOWN or (found.word, found.code, found.source) == ("", 4, "record")


def test_record_decides_while_accounting_says_that_the_job_runs() -> None:
    lagging = ended("RUNNING")

    assert verdict(lagging, Record(0), after=5).kind is Kind.UNKNOWN
    assert verdict(lagging, Record(0), after=61).kind is Kind.WELL
    assert verdict(lagging, after=10_000).kind is Kind.UNKNOWN


def test_record_of_a_job_that_the_queue_knows_decides_nothing() -> None:
    assert verdict(Facts(state="PENDING", source="queue"), Record(0), after=10_000).kind is Kind.WAITING


@pytest.mark.parametrize("word", states.MAY_START_AGAIN)
def test_end_after_which_slurm_may_start_the_job_again_is_believed_late(word: str) -> None:
    history = History()
    first = judge(Seen(ended(word)), history, 0)
    again = judge(Seen(Facts(state="PENDING", source="queue")), history, 10)
    second = judge(Seen(ended(word)), history, 1000)
    last = judge(Seen(ended(word)), history, 1000 + states.DETAIL_SECONDS)

    assert [one.kind for one in (first, again, second, last)] == [Kind.UNKNOWN, Kind.WAITING, Kind.UNKNOWN, Kind.BADLY]


def test_end_that_only_the_queue_tells_waits_for_accounting_a_little() -> None:
    facts = Facts(state="FAILED", source="queue")

    assert verdict(facts, Record(3), after=5).kind is Kind.UNKNOWN
    assert (verdict(facts, Record(3), after=21).says, verdict(facts, Record(3), after=21).code) == (
        "failed with exit code 3.",
        3,
    )


@pytest.mark.parametrize(
    ("reason", "never"),
    [
        ("Priority", False),
        ("Resources", False),
        ("Dependency", False),
        ("JobArrayTaskLimit", False),
        ("AssocGrpCpuLimit", False),
        ("AssocGrpCPURunMinutesLimit", False),
        ("QOSMaxJobsPerUserLimit", False),
        ("QOSMaxCpuPerUserLimit", False),
        ("ReqNodeNotAvail, UnavailableNodes:demo-1", False),
        ("ReqNodeNotAvail, Reserved for maintenance", False),
        ("Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions", False),
        ("DependencyNeverSatisfied", True),
        ("PartitionTimeLimit", True),
        ("PartitionDown", True),
        ("BadConstraints", True),
        ("AssocGrpCPUMinutesLimit", True),
        ("AssocGrpBillingMinutes", True),
        ("QOSMaxWallDurationPerJobLimit", True),
        ("QOSMaxCpuPerJobLimit", True),
        ("AssocMaxCpuMinutesPerJobLimit", True),
        ("InvalidQOS", True),
        ("JobHeldUser", True),
        ("launch failed requeued held", True),
        ("SomethingNew", False),
    ],
)
def test_reason_says_whether_the_job_can_start_as_it_is(reason: str, never: bool) -> None:
    found = verdict(Facts(state="PENDING", reason=reason, source="queue"))

    assert (found.kind, found.never_starts != "", reason in found.says) == (Kind.WAITING, never, True)
    assert not never or ";" in found.never_starts


def test_every_reason_of_the_published_families_is_explained() -> None:
    known = ["None", "Priority", "Resources", "BeginTime", "Licenses", "Prolog", "Cleaning", "Reservation"]

    assert [reason for reason in known if reasons.find(reason) is None] == []
    assert reasons.find("SomethingNew") is None


@pytest.mark.parametrize(
    ("says", "mend", "passes"),
    [
        (FAILED + "Invalid account or account/partition combination specified", "account=", False),
        (
            "sbatch: error: invalid partition specified: x " + FAILED + "Invalid partition name",
            "partition=",
            False,
        ),
        (FAILED + "Invalid qos specification", "qos=", False),
        (FAILED + "Requested time limit is invalid (missing or exceeds some limit)", "time=", False),
        ("sbatch: error: Invalid --time specification", "time=", False),
        (FAILED + "Requested node configuration is not available", "cpus=", False),
        (FAILED + "Node count specification invalid", "nodes=", False),
        (FAILED + "Memory required by task is not available", "memory=", False),
        ("sbatch: error: Invalid generic resource (gres) specification", "gres=", False),
        (FAILED + "Job dependency problem", "dependency=", False),
        (FAILED + "Requested reservation is invalid", "reservation=", False),
        (FAILED + "Job violates accounting/QOS policy (job submit limit, ...)", "ask for less", True),
        (FAILED + "System submissions disabled", "later", True),
        (FAILED + "Required partition not available (inactive or drain)", "partition=", True),
        ("bash: /scratch/p/.windrose/x/job.sh.new: Disk quota exceeded", "delete files", False),
        ("mkdir: cannot create directory '/scratch/p/.windrose/x': No space left on device", "disk is full", False),
        ("there is no folder /scratch/nowhere", "secrets.yaml", False),
        ("sbatch: unrecognized option '--no-such=1'", "extra_directives=", False),
        ("sbatch: command not found", "login shell", False),
        ("sbatch: error: our own rule says no", "", False),
    ],
)
def test_refusal_says_slurms_sentence_and_what_to_change(says: str, mend: str, passes: bool) -> None:
    found = refusals.refusal(Refused(says), "hpc-demo")

    assert found.says.startswith("hpc-demo: the job was refused: ")
    assert (mend in found.says, found.may_retry, found.says.endswith("."), "error:" in found.says) == (
        True,
        passes,
        True,
        False,
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [("00:01", 1.0), ("01:02.500", 62.5), ("1:02:03", 3723.0), ("2-01:00:00", 176400.0), ("", 0.0), ("INVALID", 0.0)],
)
def test_length_of_time_is_read(text: str, found: float) -> None:
    assert seconds(text) == found


@pytest.mark.parametrize(("text", "found"), [("2048K", 2097152), ("1.50M", 1572864), ("12", 12), ("", 0), ("?", 0)])
def test_size_is_read(text: str, found: int) -> None:
    assert size(text) == found


def test_array_is_counted_by_states_and_goes_on_as_long_as_one_element_does() -> None:
    token = "a2" * 10
    name = f"wr.d.{token}"
    rows = ("8-19,30%4|PENDING|JobArrayTaskLimit|0:00|", "1|RUNNING|None|2:00|n1", "0|FAILED|x|1:00|n2")
    lines = "".join(f"5|{row}|{name}\n" for row in rows)

    found = queue_facts(lines, {token: Asked(token, "5", "/f", True)})[token]

    assert (found.state, found.seconds, dict(found.elements)) == (
        "RUNNING",
        120,
        {"PENDING": 13, "RUNNING": 1, "FAILED": 1},
    )


def test_what_a_program_says_becomes_one_plain_line() -> None:
    assert sentence("\x1b[31msbatch:\x1b[0m error\n\n  no\x00\x07 such\tthing ") == "sbatch: error no such thing"
    assert (sentence("x" * 600)[-1], len(sentence("x" * 600))) == ("\N{HORIZONTAL ELLIPSIS}", 500)
    assert shown("10%\r50%\rdone\x1b[1;32m!\x1b[0m\r") == "done!"
