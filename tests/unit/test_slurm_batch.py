"""The batch script in a real bash: what runs, how its end is recorded, and what no value can do."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from windrose.slurm.model import Platform
from windrose.slurm.script import Container, Resources, ScriptError, Work, render

from tests.login_node import NAME, apptainer, run_job, write_job

TEXT = some.text(some.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo $0 $1", "script one\n"),
        ("#!/bin/sh\necho $0 $1\n", "script one\n"),
        ("#!/usr/bin/env -S bash -e\nfalse\necho no\n", ""),
        ("#!/usr/bin/awk -f\r\nBEGIN { print ARGV[1] }\r\n", "one\n"),
    ],
    ids=["no first line", "sh", "env with words", "awk, from Windows"],
)
def test_script_runs_by_its_own_interpreter(tmp_path: Path, script: str, says: str) -> None:
    _, said, _ = run_job(tmp_path, Work(script=script, arguments=["one"]))

    assert said.replace(f"{tmp_path}/", "") == says


def test_job_runs_in_its_own_folder_with_its_environment(tmp_path: Path) -> None:
    work = Work(command='pwd; echo "$A|$B|$TMP_|$WINDROSE_FOLDER"', environment={"A": "it's {folder}\n$HOME", "B": 1})

    code, said, _ = run_job(tmp_path, work, platform=Platform("p", environment={"TMP_": "$HOME/t'`id`"}))

    assert (code, said) == (0, f"{tmp_path}/work\nit's {{folder}}\n$HOME|1|{tmp_path}/t'`id`|{tmp_path}\n")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 255", 255),
        ("kill -KILL $BASHPID", 137),
        ("set -e; false; true", 1),
        ("no-such", 127),
    ],
)
def test_record_holds_how_the_work_ended(tmp_path: Path, command: str, code: int) -> None:
    assert (run_job(tmp_path, Work(command=command))[0], (tmp_path / "exit.0").read_text()) == (code, f"{code}\n")


def test_preamble_that_ends_the_job_or_changes_the_shell_is_recorded(tmp_path: Path) -> None:
    ended = run_job(tmp_path, Work(command="echo no", preamble="exit 4"))
    record = (tmp_path / "exit.0").read_text()
    changed = run_job(tmp_path, Work(command="false; echo $X", preamble="set -eu; trap 'echo theirs' EXIT; X=set"))

    assert (ended[:2], record) == ((4, ""), "4\n")
    assert (changed[:2], (tmp_path / "exit.0").read_text()) == ((0, "set\n"), "0\n")


def test_module_that_is_not_there_ends_the_job(tmp_path: Path) -> None:
    platform = Platform("p", preamble='module() { [ "$2" = gcc/13 ]; }')

    there = run_job(tmp_path, Work(command="echo yes", modules=["gcc/13"]), platform=platform)
    not_there = run_job(tmp_path, Work(command="echo no", modules=["gcc/13", "gcc/14"]), platform=platform)

    assert (there[:2], not_there[:2], (tmp_path / "exit.0").read_text()) == ((0, "yes\n"), (1, ""), "1\n")


def test_second_job_of_a_task_does_nothing_and_a_requeued_one_goes_on(tmp_path: Path) -> None:
    first = run_job(tmp_path, Work(command="echo ran"), job_id="5")
    second = run_job(tmp_path, Work(command="echo ran"), job_id="6")
    again = run_job(tmp_path, Work(command="echo ran; exit 3"), job_id="5")

    assert ([first[:2], second[:2], again[:2]], (tmp_path / "id").read_text()) == (
        [(0, "ran\n"), (1, ""), (3, "ran\n")],
        "5\n",
    )
    assert ("job 5 was submitted for the same task" in second[2], (tmp_path / "exit.0").read_text()) == (True, "3\n")


def test_job_that_was_cancelled_before_it_began_does_nothing(tmp_path: Path) -> None:
    (tmp_path / "cancelled").touch()

    code, said, complaint = run_job(tmp_path, Work(command="echo ran"))

    assert (code, said, complaint) == (1, "", "windrose: the job was cancelled before it started\n")


@pytest.mark.parametrize(
    ("command", "asked", "number", "to_all", "ends"),
    [
        ("touch up; sleep 60", "", signal.SIGTERM, True, 143),
        ("trap 'exit 7' TERM; touch up; sleep 60 & wait", "", signal.SIGTERM, True, 7),
        ("trap '' TERM; touch up; sleep 1; exit 9", "", signal.SIGTERM, True, 9),
        ("trap 'exit 6' USR1; touch up; sleep 5 & wait", "B:USR1@60", signal.SIGUSR1, False, 6),
        ("trap 'exit 8' TERM; touch up; sleep 5 & wait", "B:TERM@60", signal.SIGTERM, False, 8),
        ("trap 'exit 7' TERM; touch up; sleep 5 & wait", "B:USR1@60", signal.SIGTERM, True, 7),
    ],
    ids=["time limit", "saves its work", "does not listen", "only the shell", "only the shell, TERM", "both"],
)
def test_signal_reaches_the_work_and_its_own_end_is_recorded(  # noqa: PLR0913
    tmp_path: Path, command: str, asked: str, number: int, to_all: bool, ends: int
) -> None:
    path = write_job(tmp_path, Work(command=command), resources=Resources(signal=asked))
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "SLURM_JOB_ID": "5"}
    process = subprocess.Popen(
        ["bash", "-l", str(path)], env=environment, start_new_session=True, stderr=subprocess.DEVNULL
    )
    end = time.monotonic() + 20
    while not (tmp_path / "work" / "up").exists():
        assert time.monotonic() < end
        time.sleep(0.02)

    (os.killpg if to_all else os.kill)(process.pid, number)

    assert (process.wait(20), (tmp_path / "exit.0").read_text()) == (ends, f"{ends}\n")
    assert [name for name in os.listdir(tmp_path) if name.startswith(".")] == []


def test_array_element_keeps_its_own_record_and_the_number_of_all(tmp_path: Path) -> None:
    path = write_job(tmp_path, Work(command="exit $SLURM_ARRAY_TASK_ID"), resources=Resources(array="0-3"))
    for index in (0, 3):
        array = {
            "SLURM_ARRAY_JOB_ID": "9",
            "SLURM_JOB_ID": f"1{index}",
            "SLURM_ARRAY_TASK_ID": str(index),
            "SLURM_ARRAY_TASK_COUNT": "4",
        }
        subprocess.run(
            ["bash", "-l", str(path)], env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **array}, timeout=60
        )

    found = {name: (tmp_path / name).read_text() for name in ("exit.0", "exit.3", "elements", "id")}
    assert found == {"exit.0": "0\n", "exit.3": "3\n", "elements": "4\n", "id": "9\n"}


def test_container_gets_the_job_folder_its_mounts_and_the_graphics_cards(tmp_path: Path) -> None:
    apptainer(tmp_path)
    container = Container(image="/images/it's.sif", binds=["/data:/in:ro", "{folder}/x:/x"], options=["--cleanenv"])
    work = Work(
        script="#!/usr/bin/python3 -u\n",
        arguments=["a b"],
        container=container,
        preamble=f'PATH="{tmp_path}/bin:$PATH"',
    )

    _, said, _ = run_job(tmp_path, work, resources=Resources(gpus=1))

    assert said.splitlines() == [
        *(
            "exec",
            "--cleanenv",
            "--nv",
            "--bind",
            str(tmp_path),
            "--bind",
            "/data:/in:ro",
            "--bind",
            f"{tmp_path}/x:/x",
        ),
        *("--pwd", f"{tmp_path}/work", "/images/it's.sif", "/usr/bin/python3", "-u", f"{tmp_path}/script", "a b"),
    ]


def test_container_of_another_make_of_cards_is_left_alone(tmp_path: Path) -> None:
    apptainer(tmp_path)
    work = Work(
        command="x 'y'", container=Container(image="i", options=["--rocm"]), preamble=f'PATH="{tmp_path}/bin:$PATH"'
    )

    _, said, _ = run_job(tmp_path, work, resources=Resources(gres="gpu:1"))

    assert ("--nv" in said, said.splitlines()[-4:]) == (False, ["i", "sh", "-c", "x 'y'"])


HOSTILE = TEXT | some.sampled_from(
    [
        "$(touch X)",
        "`touch X`",
        "'; touch X; '",
        '"; touch X; "',
        "\ntouch X\n",
        "{folder}'; touch X; '",
        "$HOME$(touch X)",
    ]
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    value=HOSTILE,
    argument=HOSTILE,
    account=HOSTILE,
    comment=HOSTILE,
    module=HOSTILE,
    folder=HOSTILE,
    image=HOSTILE,
    of_platform=HOSTILE,
)
def test_no_value_is_ever_run(tmp_path_factory: pytest.TempPathFactory, **texts: str) -> None:
    here = tmp_path_factory.mktemp("job")
    apptainer(here)
    text = {name: value.replace("X", f"{here}/pwned") for name, value in texts.items()}
    clean: dict[str, Any] = {}
    for words in {
        "resources": {"resources": Resources(account=text["account"])},
        "extra": {"extra_directives": {"comment": text["comment"]}},
        "platform": {"platform": Platform("p", account=text["account"], environment={"C": text["of_platform"]})},
    }.values():
        try:
            render(NAME, Work(command="true"), **words)
        except ScriptError:
            continue
        clean |= words
    plain = Work(script="echo $#; exit 5", arguments=[text["argument"]], environment={"A": text["value"]})
    works = [
        plain,
        *(Work(command="true", **words) for words in ({"modules": [text["module"]]}, {"folder": text["folder"]})),
    ]
    works.append(
        Work(
            command=":",
            container=Container(image=text["image"], options=[text["value"]]),
            preamble=f"PATH={here}/bin:$PATH",
        )
    )
    for work in works:
        try:
            code, said, _ = run_job(here, work, **clean)
        except ScriptError:
            continue
        assert work is not plain or (code, said) == (5, "1\n")

    assert not (here / "pwned").exists()
