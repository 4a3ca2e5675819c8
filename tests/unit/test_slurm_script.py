"""The batch script as Slurm reads it: whose word counts, what is refused, how values are quoted."""

from __future__ import annotations

import shlex
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from windrose.slurm import directives
from windrose.slurm.model import Platform
from windrose.slurm.script import Container, Resources, ScriptError, Work, array_of, elements, render

NAME = "wr.dag.task.abc"
PLATFORM = Platform(
    "hpc-demo", account="project_1", partition="small", preamble="module purge", environment={"TMP_": "$HOME/t"}
)
TEXT = some.text(some.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)


def options(script: str) -> dict[str, str | None]:
    return directives.own_options(script)


def test_person_overrides_the_platform_and_resources_override_the_person() -> None:
    own = "#SBATCH -A mine -t 10 --mem-per-cpu 2G  # all that\n#SBATCH --mail-ty=END\n"
    script = f"#!/bin/bash\n{own}echo\n#SBATCH --qos=late\n"

    found = options(
        render(
            NAME,
            Work(script=script),
            platform=PLATFORM,
            resources=Resources(time=90, memory="4 GB"),
            extra_directives={"hint": "nomultithread", "exclusive": True, "hold": False},
        )
    )

    assert found == {
        "partition": "small",
        "account": "mine",
        "mail-type": "END",
        "time": "90",
        "mem": "4G",
        "hint": "nomultithread",
        "exclusive": None,
        "job-name": NAME,
        "output": "{folder}/out",
        "error": "{folder}/err",
        "open-mode": "append",
    }


def test_job_name_and_output_are_ours_whatever_the_script_says() -> None:
    script = "#!/bin/sh\n#SBATCH -J theirs -o /tmp/x --error=/tmp/y --open-mode=truncate\ntrue\n"

    found = options(render(NAME, Work(script=script)))

    assert (found["job-name"], found["output"], found["error"]) == (NAME, "{folder}/out", "{folder}/err")


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"time": timedelta(hours=26, seconds=0.5)}, "time=1-02:00:01"),
        ({"time": 1.5}, "time=0-00:01:30"),
        ({"time": "1-02:00:00"}, "time=1-02:00:00"),
        ({"nodes": "2-4"}, "nodes=2-4"),
        ({"tasks": "8"}, "ntasks=8"),
        ({"cpus": 4}, "cpus-per-task=4"),
        ({"memory": "500m"}, "mem=500M"),
        ({"memory_per_cpu": "2GiB"}, "mem-per-cpu=2G"),
        ({"gpus": "a100:2"}, "gpus=a100:2"),
        ({"gpus_per_node": 8}, "gpus-per-node=8"),
        ({"array": "0-9%4"}, "array=0-9%4"),
        ({"dependency": "afterok:12:13"}, "dependency=afterok:12:13"),
        ({"begin": timedelta(minutes=2)}, "begin=now+120seconds"),
        ({"exclusive": True}, "exclusive"),
        ({"exclusive": "user"}, "exclusive=user"),
        ({"requeue": "false"}, "no-requeue"),
        ({"constraint": "(a|b)&c"}, 'constraint="(a|b)&c"'),
        ({"signal": "B:USR1@120"}, "signal=B:USR1@120"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_resource_becomes_a_directive(given: dict[str, Any], line: str) -> None:
    assert directives.lines(Resources(**given).options()) == [f"#SBATCH --{line}"]


def test_what_is_empty_is_not_asked_for() -> None:
    assert Resources(account="", time="", cpus="", exclusive=False, requeue="", memory=None).options() == {}


@pytest.mark.parametrize(
    "given",
    [
        {"time": "5x"},
        {"time": 0},
        {"time": True},
        {"time": "0:00"},
        {"time": timedelta()},
        {"time": float("nan")},
        {"nodes": "4-2"},
        {"tasks": 0},
        {"cpus": "two"},
        {"cpus": True},
        {"memory": "1.5G"},
        {"memory": "4X"},
        {"memory": "1G", "memory_per_cpu": "1G"},
        {"gpus": "many"},
        {"array": "9-0"},
        {"array": "a"},
        {"array": "0-9%0"},
        {"array": "0-99999999"},
        {"dependency": "1234"},
        {"account": "a\nb"},
        {"partition": "x\x1b[31m"},
        {"qos": 5},
        {"exclusive": "perhaps"},
    ],
    ids=str,
)
def test_impossible_resource_is_refused_in_a_sentence(given: dict[str, Any]) -> None:
    with pytest.raises(ScriptError) as raised:
        Resources(**given).options()

    said = str(raised.value)
    assert (said.endswith("."), "\n" in said, any(name.split("_")[0] in said for name in given)) == (True, False, True)


@pytest.mark.parametrize(
    "extra",
    [
        {"wait": True},
        ["--wrap=ls"],
        ["-M", "other"],
        {"clusters": "other"},
        ["--test-only"],
        {"a b": "c"},
        {"comment": "a\nb"},
        ["--comment=a\n#SBATCH --uid=0"],
        ["-M other"],
        ["--array=x"],
        ["-Z9"],
    ],
    ids=str,
)
def test_directive_that_would_lose_the_job_or_is_none_is_refused(extra: Any) -> None:
    with pytest.raises(ScriptError):
        render(NAME, Work(command="true"), extra_directives=extra)


def test_script_of_several_jobs_is_refused() -> None:
    with pytest.raises(ScriptError, match="one job a part"):
        render(NAME, Work(script="#!/bin/sh\n#SBATCH -n 1\n#SBATCH hetjob\n#SBATCH -n 2\ntrue\n"))


@pytest.mark.parametrize(
    ("work", "says"),
    [
        (Work(), "script or a command"),
        (Work(command="true", script="true"), "script or a command"),
        (Work(command="true", environment={"A-B": "1"}), "name of a variable"),
        (Work(command="true", environment={"A": "\0"}), "zero byte"),
        (Work(command="true", modules=["gcc; rm -r"]), "name of a module"),
        (Work(command="true", modules=["-h"]), "name of a module"),
        (Work(command="true", folder="/a\nb"), "line break"),
        (Work(command="true", container=Container(image="")), "path of an image"),
        (Work(command="true", container=Container(image="a.sif", binds=["a:b"])), "binds"),
        (Work(command="true", container=Container(image="a.sif", binds=["/a:/b:rx"])), "neither ro nor rw"),
        (Work(script="#!/bin/sh\n\0"), "zero byte"),
    ],
)
def test_impossible_work_is_refused_in_a_sentence(work: Work, says: str) -> None:
    with pytest.raises(ScriptError, match=says):
        render(NAME, work)


def test_indexes_of_an_array_are_found_whoever_names_them() -> None:
    own = render(NAME, Work(script="#!/bin/sh\n#SBATCH -a 1-3,7%2\ntrue\n"))
    typed = render(NAME, Work(command="true"), resources=Resources(array="0-8:2"))

    assert (array_of(own), array_of(typed), array_of(render(NAME, Work(command="true")))) == ("1-3,7%2", "0-8:2", "")
    assert (elements("1-3,7%2"), elements("0-8:2"), options(own)["output"]) == (4, 5, "{folder}/out.%a")


@settings(deadline=None)
@given(value=TEXT)
def test_value_of_a_directive_is_read_back_as_it_is(value: str) -> None:
    try:
        line = directives.lines(directives.extra_options({"comment": value}))
    except ScriptError:
        assert not all(sign.isprintable() or sign == "\t" for sign in value)
        return

    assert directives.own_options("\n".join(line)) == {"comment": value}
    assert len(line[0].splitlines()) == 1


def test_words_are_those_that_a_shell_would_find_too() -> None:
    line = """ --a=b "--c=d e" --f='g h' --i="j'k" # rest"""

    assert directives.words(line) == shlex.split(line, comments=True)
