"""The programs for login nodes, in a real bash here, with commands that answer as Slurm's do."""

from __future__ import annotations

import os
import re
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from windrose.slurm import answers, remote
from windrose.slurm.model import ClusterError

from tests.login_node import LoginNode

TOKEN = "a2" * 10
NAME = f"wr.dag.task.{TOKEN}"
SCRIPT = f"#!/bin/bash -l\n#SBATCH --job-name={NAME}\n#SBATCH --output={{folder}}/out\ntrue\n"
PARTS = (SCRIPT.encode(), b"#!/bin/sh\necho mine\n", b'{"dag_id": "d"}')


@pytest.fixture
def node(tmp_path: Path) -> LoginNode:
    return LoginNode(tmp_path / "home")


def submit(node: LoginNode) -> tuple[str, str]:
    return node.answer(remote.submit("", TOKEN, NAME, PARTS))


def folder(node: LoginNode) -> Path:
    return node.home / ".windrose" / TOKEN


def age(path: Path, seconds: float) -> None:
    """Let something have happened so long ago."""
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_submit_leaves_the_job_and_its_id_in_its_folder(node: LoginNode) -> None:
    found = node.run(remote.submit("", TOKEN, NAME, PARTS))

    assert [(item.words, item.text) for item in found] == [(("folder",), str(folder(node))), (("submitted",), "101")]
    assert (folder(node) / "id").read_text() == "101\n"
    assert (folder(node) / "job.sh").read_text() == SCRIPT.replace("{folder}", str(folder(node)))
    assert (folder(node) / "script").read_bytes() == PARTS[1]
    assert (folder(node) / "origin.json").read_bytes() == PARTS[2]
    assert (folder(node).stat().st_mode & 0o777, (folder(node) / "work").is_dir()) == (0o700, True)


def test_folder_for_jobs_is_open_to_whom_the_scratch_is_open_to(node: LoginNode) -> None:
    scratch = node.home / "project"
    scratch.mkdir()
    scratch.chmod(0o2770)

    node.run(remote.submit("project", TOKEN, NAME, PARTS))

    modes = [(scratch / ".windrose" / name).stat().st_mode & 0o1777 for name in (".", TOKEN)]
    assert modes == [0o1770, 0o700]


def test_job_is_submitted_with_the_language_and_mask_of_the_login_and_nothing_of_ours(node: LoginNode) -> None:
    profile = (node.home / ".bash_profile").read_text()
    node.profile(f"{profile}umask 027; export LC_ALL=C.UTF-8 SBATCH_WAIT=1 SBATCH_ACCOUNT=theirs SQUEUE_STATES=F\n")

    submit(node)

    environment = node.lines("environment")
    assert {"LC_ALL=C.UTF-8", "SBATCH_ACCOUNT=theirs"} <= set(environment)
    assert [line for line in environment if line.startswith(("SBATCH_WAIT", "SQUEUE", "SLURM", "BASH_FUNC"))] == []
    assert (node.lines("umask"), node.lines("cwd"), node.lines("stdin")) == (["0027"], [f"{folder(node)}/work"], [])


def test_second_submit_finds_the_first(node: LoginNode) -> None:
    assert [submit(node), submit(node)] == [("submitted", "101"), ("found", "101")]
    assert len(node.lines("sbatch.log")) == 1


def test_folder_that_inputs_were_copied_into_before_is_no_claim(node: LoginNode) -> None:
    (folder(node) / "work").mkdir(parents=True)

    assert submit(node) == ("submitted", "101")


def test_of_many_submits_at_once_one_submits(node: LoginNode) -> None:
    node.says("mode", "slow")
    calls = [remote.submit("", TOKEN, NAME, PARTS) for _ in range(5)]

    processes = [node.start(call) for call in calls]
    said = [process.communicate(call.data, timeout=60)[0] for process, call in zip(processes, calls, strict=True)]

    words = sorted(answers.items(one, call.mark)[-1].words[0] for one, call in zip(said, calls, strict=True))
    assert (words.count("submitted"), set(words) <= {"submitted", "found", "unsure"}) == (1, True)
    assert len(node.lines("sbatch.log")) == 1


@pytest.mark.parametrize("where", ["queue", "accounting"])
def test_lost_answer_is_found_by_the_jobs_name(node: LoginNode, where: str) -> None:
    node.says("mode", "lost")
    assert submit(node)[0] == "unsure 30"
    if where == "accounting":
        (node.fake / "queue").unlink()
        node.says("accounting", f"101|COMPLETED|0:0|1|00:01|||demo|None|{NAME}\n")

    assert [submit(node), submit(node)] == [("found", "101"), ("found", "101")]
    assert len(node.lines("sbatch.log")) == 1


def test_claim_without_a_trace_is_taken_over_only_after_its_time(node: LoginNode) -> None:
    node.says("mode", "silent")
    submit(node)
    node.says("mode", "")

    young = submit(node)
    age(folder(node) / "attempt.1", 200)
    old = submit(node)

    assert (young[0], old) == ("unsure 3", ("submitted", "101"))
    assert len(node.lines("sbatch.log")) == 2


@pytest.mark.parametrize(("down", "says"), [("queue.down", "queue"), ("accounting.down", "accounting")])
def test_claim_is_not_taken_over_while_slurm_does_not_answer(node: LoginNode, down: str, says: str) -> None:
    node.says("mode", "silent")
    submit(node)
    age(folder(node) / "attempt.1", 200)
    node.says(down, "sacct: error: Problem talking to the database: Connection refused\n")

    word, text = submit(node)

    assert (word, f"{says} cannot be asked" in text) == ("unsure 30", True)
    assert len(node.lines("sbatch.log")) == 1


def test_claim_is_taken_over_where_no_accounts_are_kept(node: LoginNode) -> None:
    node.says("mode", "silent")
    submit(node)
    age(folder(node) / "attempt.1", 200)
    node.says("mode", "")
    node.says("accounting.down", "Slurm accounting storage is disabled\n")

    assert submit(node) == ("submitted", "101")


@pytest.mark.parametrize("mode", ["refused", "unread"])
def test_refusal_is_told_and_may_be_submitted_again_at_once(node: LoginNode, mode: str) -> None:
    node.says("mode", mode)
    word, text = submit(node)
    node.says("mode", "")

    assert (word, "Invalid" in text, submit(node)) == ("refused", True, ("submitted", "101"))


def test_controller_that_was_not_reached_may_be_asked_again_at_once(node: LoginNode) -> None:
    node.says("mode", "unsent")
    word, _ = submit(node)
    node.says("mode", "")

    assert (word, submit(node)) == ("unsure 30", ("submitted", "101"))


def test_submit_whose_connection_breaks_goes_on_there(node: LoginNode) -> None:
    node.says("mode", "slow")
    call = remote.submit("", TOKEN, NAME, PARTS)
    process = node.start(call)
    assert process.stdin and process.stdout and process.stderr
    process.stdin.write(call.data)
    process.stdin.close()
    process.stdout.close()
    process.stderr.close()
    process.wait(30)

    assert submit(node) == ("found", "101")


def test_half_a_job_is_not_submitted_and_leaves_no_claim(node: LoginNode) -> None:
    call = remote.submit("", TOKEN, NAME, PARTS)

    half = node.answer(replace(call, data=call.data[:-5]))

    assert half == ("problem", "the job did not arrive whole")
    assert submit(node) == ("submitted", "101")


def test_cancel_before_the_submit_prevents_it(node: LoginNode) -> None:
    (node.home / ".windrose").mkdir()
    node.run(remote.cancel("", TOKEN, ""))

    assert submit(node) == ("refused", "the job was cancelled before it was submitted")
    assert node.lines("sbatch.log") == []


def test_cancel_finds_the_job_by_its_token_alone_and_leaves_others(node: LoginNode) -> None:
    submit(node)
    with (node.fake / "queue").open("a") as queue:
        queue.write(f"7|N/A|RUNNING|None|1:00|demo|wr.dag.task.{'b3' * 10}\n8|N/A|RUNNING|None|1:00|demo|{TOKEN}\n")

    answers_ = [node.answer(remote.cancel("", TOKEN, "")) for _ in range(2)]

    assert answers_ == [("cancelled", "101"), ("cancelled", "101")]
    assert node.lines("cancelled") == ["101"]


def test_noise_of_every_kind_changes_no_answer(node: LoginNode) -> None:
    profile = (node.home / ".bash_profile").read_text()
    noise = (
        "echo 'Last login'; printf '\\033[31mred\\033[0m\\xff\\xfe'; echo complaint >&2; read -t 1 answer; cat\n"
        "set -eu; shopt -s nullglob; IFS=x; stat() { echo fooled; }; export -f stat; alias mkdir=false\n"
        "(sleep 0.2; echo late) & export LC_ALL=C.UTF-8 GREP_OPTIONS=-v SQUEUE_FORMAT=%i\n"
    )
    node.profile(profile + noise)
    node.says("mode", "noisy")
    call = remote.submit("", TOKEN, NAME, PARTS)
    # What the shell that sshd starts says before and after is not ours to prevent.
    shell = "printf 'Welcome\\n\\033[1mMOTD\\0\\n'; " + call.command.removeprefix("exec ") + "; echo 'Good bye'"

    found = answers.items(node.raw(replace(call, command=shell)), call.mark)

    assert (found[-1].words, found[-1].text, node.lines("sbatch.log") != []) == (("submitted",), "101", True)


def test_profile_that_ends_the_shell_is_told(node: LoginNode) -> None:
    node.profile("exit 0\n")

    with pytest.raises(ClusterError, match="login shell ended before"):
        submit(node)


def test_answer_that_something_wrote_into_is_not_believed(node: LoginNode) -> None:
    call = remote.queued("")
    said = node.raw(call)
    middle = said.index(b"-begin\n") + 20

    for damaged in (said[:middle] + b"noise" + said[middle:], said[:middle], said[:-40] + said[-39:]):
        with pytest.raises(ClusterError):
            answers.items(damaged, call.mark)


@pytest.mark.parametrize("shell", ["bash", "sh", "bash --posix"])
def test_any_login_shell_passes_a_call_on(node: LoginNode, shell: str) -> None:
    call = remote.queued("")
    argv = [*shell.split(), "-c", call.command]
    environment = {"HOME": str(node.home), "PATH": os.environ["PATH"]}

    said = subprocess.run(argv, input=b"", capture_output=True, env=environment, timeout=60).stdout

    assert answers.items(said, call.mark) == []
    assert re.fullmatch(r"exec bash -c 'eval \"\$\(echo [A-Za-z0-9+/=]+ \| base64 -d\)\"'", call.command)


@pytest.mark.parametrize(
    ("root", "found"),
    [
        ("", "{home}"),
        ("~", "{home}"),
        ("~/deep", "{home}/deep"),
        ("deep/er/", "{home}/deep/er"),
        ("/scratch/$USER", "/scratch/researcher"),
        ("/scratch/${USER}x/", "/scratch/researcherx"),
        ("$HOME/a", "{home}/a"),
    ],
)
def test_scratch_may_name_variables_of_the_cluster(node: LoginNode, root: str, found: str) -> None:
    assert node.answer(remote.folder(root, TOKEN)) == (
        "folder",
        f"{found.format(home=node.home)}/.windrose/{TOKEN}",
    )


HOSTILE = some.text(
    some.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40
) | some.sampled_from(
    ["$(touch X)", "`touch X`", "'; touch X; '", '"; touch X; "', "\n touch X\n", "${HOME:$(touch X)}", "a[$(touch X)]"]
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(root=HOSTILE, token=HOSTILE, name=HOSTILE, job_id=HOSTILE)
def test_no_argument_is_ever_run(
    tmp_path_factory: pytest.TempPathFactory, root: str, token: str, name: str, job_id: str
) -> None:
    node = LoginNode(tmp_path_factory.mktemp("node") / "home")
    texts = [text.replace("X", str(node.home / "pwned")) for text in (root, token, name, job_id)]

    for call in (remote.cancel(texts[0], texts[1], texts[3]), remote.folder(texts[0], texts[1])):
        node.run(call)
    if "/" not in texts[1] and len(texts[1].encode()) < 200:
        node.run(remote.submit(texts[0], texts[1], texts[2], PARTS))

    assert not (node.home / "pwned").exists()


def test_queue_tells_where_our_jobs_come_from(node: LoginNode) -> None:
    submit(node)
    (node.fake / "queue").open("a").write(
        f"7|N/A|RUNNING|None|1:00|demo|wr.other.{'b3' * 10}\n8|N/A|RUNNING|x|1|y|wr.$(id)\n"
    )

    found = [answers.queued(item) for item in node.run(remote.queued(""))]

    assert [(one.token, one.job_id, one.state, one.origin) for one in found] == [
        (TOKEN, "101", "PENDING", {"dag_id": "d"}),
        ("b3" * 10, "7", "RUNNING", {}),
    ]
    assert all(one.seconds > 1_000_000 for one in found)
