"""A look at many jobs at once, in a real bash here, with commands that answer as Slurm's do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from windrose.slurm import answers, remote_look
from windrose.slurm.model import Asked, Facts, Record, Seen

from tests.login_node import LoginNode

TOKEN = "a2" * 10
NAME = f"wr.dag.task.{TOKEN}"


@pytest.fixture
def node(tmp_path: Path) -> LoginNode:
    return LoginNode(tmp_path / "home")


def rows(node: LoginNode, token: str, job_id: str, *, array: bool = False) -> Asked:
    where = node.home / ".windrose" / token
    where.mkdir(parents=True, exist_ok=True)
    return Asked(token, job_id, str(where), array)


def look(node: LoginNode, *asked: Asked) -> dict[str, Seen]:
    return answers.seen(node.run(remote_look.look(asked)), asked)


def test_look_sees_states_and_new_output_of_all_at_once(node: LoginNode) -> None:
    running, ended = rows(node, TOKEN, "5"), rows(node, "b3" * 10, "6")
    node.says("queue", f"5|N/A|RUNNING|None|1-02:03:04|demo-1|{NAME}\n9|N/A|RUNNING|x|y\nnoise | and | more\n")
    name = f"wr.x.{ended.token}"
    node.says(
        "accounting",
        f"6|OUT_OF_MEMORY|0:125|61|01:02.5||120|demo-2|None|{name}\n6.batch|OUT_OF_MEMORY|0:125|61|01:02.5|2048K||demo-2||a|b\n",
    )
    Path(running.folder, "out").write_bytes(b"one\ntwo\xff\n")
    Path(ended.folder, "exit.0").write_text("137\n")

    found = look(node, running, ended)

    assert found[TOKEN].facts == Facts("RUNNING", seconds=93784, nodes="demo-1", source="queue")
    assert (found[TOKEN].out, found[TOKEN].out_at, found[TOKEN].more) == (b"one\ntwo\xff\n", 9, False)
    assert found[ended.token].facts == Facts(
        "OUT_OF_MEMORY",
        signal=125,
        seconds=61,
        nodes="demo-2",
        cpu_seconds=62.5,
        memory=2097152,
        source="accounting",
        limit=7200,
    )
    assert found[ended.token].record == Record(137, 1, 1)
    assert (len(node.lines("squeue.log")), len(node.lines("sacct.log"))) == (1, 1)


def test_look_brings_a_piece_at_a_time_and_begins_again_with_a_shorter_file(node: LoginNode) -> None:
    asked = rows(node, TOKEN, "5")
    node.says("queue", f"5|N/A|RUNNING|None|1:00|demo-1|{NAME}\n")
    path = Path(asked.folder, "out")
    path.write_bytes(b"x" * 100_000 + b"\nlast\n")
    one = look(node, asked)[TOKEN]
    asked.out = one.out_at
    two = look(node, asked)[TOKEN]
    asked.out = two.out_at
    three = look(node, asked)[TOKEN]
    path.write_bytes(b"again\n")
    four = look(node, asked)[TOKEN]
    asked.out, near_end = -1, replace(asked, out=None)

    assert [(len(seen.out), seen.out_at, seen.more) for seen in (one, two, three)] == [
        (65536, 65536, True),
        (34470, 100006, False),
        (0, 100006, False),
    ]
    assert (four.out, four.out_at) == (b"again\n", 6)
    assert (look(node, asked)[TOKEN].out, look(node, asked)[TOKEN].out_at) == (b"", -1)
    path.write_bytes(b"y" * 70_000 + b"\nlast\n")
    assert (look(node, near_end)[TOKEN].out, look(node, near_end)[TOKEN].out_at) == (b"last\n", 70006)


def test_job_of_another_name_under_the_same_id_is_not_ours(node: LoginNode) -> None:
    asked = rows(node, TOKEN, "5")
    node.says("queue", "5|N/A|FAILED|None|1:00|demo-1|somebody-elses\n")
    node.says("accounting", "5|FAILED|1:0|1|00:01|||demo|None|somebody-elses\n5|FAILED|1:0|1|00:01|||x|None|wr.a.b|c\n")

    assert look(node, asked)[TOKEN].facts is None


def test_accounting_that_is_down_is_told_and_the_record_is_there(node: LoginNode) -> None:
    asked = rows(node, TOKEN, "5")
    Path(asked.folder, "exit.0").write_text("0\n")
    node.says("accounting.down", "sacct: error: Problem talking to the database: Connection refused\n")

    seen = look(node, asked)[TOKEN]

    assert (seen.facts, seen.record, "Connection refused" in seen.accounting) == (None, Record(0, 1, 0), True)


def test_array_is_whole_only_when_all_its_elements_are_known(node: LoginNode) -> None:
    asked = rows(node, TOKEN, "5", array=True)
    lines = [
        f"5_{i}|{state}|{code}:0|{i}|00:01|||demo|None|{NAME}\n"
        for i, state, code in ((0, "COMPLETED", 0), (1, "FAILED", 3))
    ]
    node.says("accounting", "".join(lines))
    Path(asked.folder, "elements").write_text("3\n")
    for i, code in enumerate((0, 3)):
        Path(asked.folder, f"exit.{i}").write_text(f"{code}\n")
    lagging = look(node, asked)[TOKEN]
    node.says("accounting", "".join([*lines, f"5_2|TIMEOUT|0:0|9|00:01|||demo|None|{NAME}\n"]))
    whole = look(node, asked)[TOKEN]

    assert (lagging.facts, lagging.record, lagging.accounting) == (None, None, "it knows 2 of 3 elements")
    assert whole.facts is not None
    assert (whole.facts.state, dict(whole.facts.elements)) == ("TIMEOUT", {"COMPLETED": 1, "FAILED": 1, "TIMEOUT": 1})


def test_queue_that_has_forgotten_an_element_does_not_tell_how_the_array_ended(node: LoginNode) -> None:
    asked = rows(node, TOKEN, "5", array=True)
    node.says("queue", f"5|1|COMPLETED|None|0:40|demo|{NAME}\n")
    Path(asked.folder, "elements").write_text("2\n")
    for i, code in enumerate((1, 0)):
        Path(asked.folder, f"exit.{i}").write_text(f"{code}\n")

    seen = look(node, asked)[TOKEN]

    assert (seen.facts, seen.record) == (None, Record(1, 2, 1))


def test_tail_of_an_array_is_that_of_the_element_that_failed(node: LoginNode) -> None:
    asked = rows(node, TOKEN, "5", array=True)
    for i, code in enumerate((0, 3, 0)):
        Path(asked.folder, f"out.{i}").write_text(f"out {i}\n")
        Path(asked.folder, f"err.{i}").write_bytes(b"\x1b[31mred\x1b[0m \xff" + b"%d\n" % i)
        Path(asked.folder, f"exit.{i}").write_text(f"{code}\n")

    streams = {item.words[0]: item for item in node.run(remote_look.tail(asked))}

    assert answers.last_lines(streams["out"]) == ["out 1"]
    assert answers.last_lines(streams["err"]) == ["red \N{REPLACEMENT CHARACTER}1"]


def test_thousand_jobs_are_one_question(node: LoginNode) -> None:
    asked = [
        Asked(f"{number:020}".translate(str.maketrans("0189", "abcd")), str(number), "/nowhere")
        for number in range(1000)
    ]
    node.says("queue", "".join(f"{one.job_id}|N/A|RUNNING|None|1:00|demo-1|wr.x.{one.token}\n" for one in asked[:500]))
    node.says(
        "accounting",
        "".join(f"{one.job_id}|COMPLETED|0:0|1|00:01|||demo|None|wr.x.{one.token}\n" for one in asked[500:]),
    )

    found = look(node, *asked)

    states = [found[one.token].facts.state for one in asked]  # type: ignore[union-attr]
    assert states == ["RUNNING"] * 500 + ["COMPLETED"] * 500
    assert (len(node.lines("squeue.log")), len(node.lines("sacct.log"))) == (1, 3)


def test_long_lines_and_hostile_names_do_no_harm(node: LoginNode) -> None:
    asked = rows(node, TOKEN, "5")
    node.says(
        "queue",
        f"4|N/A|RUNNING|None|1:00|demo|quote'\"$(touch {node.home}/pwned)\n5|N/A|RUNNING|None|1:00|demo-1|{NAME}\n",
    )
    Path(asked.folder, "err").write_bytes(b"z" * 1_000_000 + b"\n")

    _, err = (answers.last_lines(item) for item in node.run(remote_look.tail(asked)))
    seen = look(node, asked)[TOKEN]

    assert (seen.facts is not None, len(err), len(err[0])) == (True, 1, answers.LONGEST_LINE)
    assert not (node.home / "pwned").exists()
