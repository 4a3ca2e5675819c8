"""The Airflow image: every version is the lock's, whatever the base carries; what contradicts it is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.engine_support import run
from tests.mirror_support import Mirror

BASE = "windrose/airflow-base:3.3.2-local"
OLDER = "apache-airflow==3.3.2 apache-airflow-providers-ssh<7 apache-airflow-providers-sftp<7"
VERSIONS = """
import json, sys
sys.path.insert(0, "/opt/windrose/build")
from locked import installed_versions, locked_versions
print(json.dumps([installed_versions(), locked_versions()]))
"""
RunInside = Callable[..., str]


def read_versions(run_inside: RunInside, image: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return what an image has installed, and what the lock says of it."""
    installed, locked = json.loads(run_inside(image, "python", "-c", VERSIONS))
    return installed, locked


def test_every_version_is_the_locks(usual: dict[str, str], run_inside: RunInside) -> None:
    installed, locked = read_versions(run_inside, usual["airflow"])

    assert installed == {name: locked[name] for name in installed}
    assert len(installed) > 150


def test_second_build_builds_nothing(build: Any, usual: dict[str, str]) -> None:
    before = run("docker", "image", "inspect", "--format={{.Id}} {{.Created}}", *usual.values()).stdout

    done = build.make()

    assert (done.returncode, done.stderr) == (0, "".join(f"{name}: {tag}\n" for name, tag in usual.items()))
    assert run("docker", "image", "inspect", "--format={{.Id}} {{.Created}}", *usual.values()).stdout == before


def test_older_providers_of_the_base_move_to_the_lock(build: Any, run_inside: RunInside) -> None:
    build.replace("images/images.env", f"AIRFLOW_LOCAL={BASE}", "AIRFLOW_LOCAL=windrose-test/older-base:3.3.2-local")
    build.replace("images/airflow-base/Dockerfile", "REQUIREMENTS=apache-airflow==3.3.2", f'REQUIREMENTS="{OLDER}"')
    recipe = "&& uv pip install --quiet --link-mode=copy"
    without = "&& grep -vE '^apache-airflow-providers-(ssh|sftp)==' /tmp/constraints.txt > /tmp/older.txt"
    build.replace("images/airflow-base/Dockerfile", recipe, f"{without} {recipe}")
    build.replace("images/airflow-base/Dockerfile", "--constraint /tmp/constraints.txt", "--constraint /tmp/older.txt")

    tag = build.tags()["airflow"]

    older = run_inside("windrose-test/older-base:3.3.2-local", "pip", "list", "--format=freeze")
    assert "apache-airflow-providers-ssh==6." in older
    installed, locked = read_versions(run_inside, tag)
    assert installed == {name: locked[name] for name in installed}


def test_base_with_another_airflow_is_refused(build: Any, base_of: Callable[[str], str]) -> None:
    metadata = "/home/airflow/.local/lib/python3*/site-packages/apache_airflow_core-*.dist-info/METADATA"
    base_of(f"FROM {BASE}\nRUN sed -i 's/^Version: .*/Version: 3.3.1/' {metadata}\n")

    done = build.make()

    sentence = (
        "image airflow: the base image carries apache-airflow-core 3.3.1 and constraints.txt holds 3.3.2; "
        "take the base image of that release."
    )
    assert (done.returncode, sentence in done.stderr.splitlines()) == (2, True)


def test_package_that_contradicts_the_lock_is_refused(build: Any) -> None:
    build.write("packages.local.txt", "# mine\nparamiko<3\n")
    locked = (build.clone.folder / "constraints.txt").read_text(encoding="utf-8")
    version = next(line.split("==")[1].split()[0] for line in locked.splitlines() if line.startswith("paramiko=="))

    done = build.make()

    sentence = (
        f"image airflow: packages.local.txt line 2: paramiko<3 contradicts constraints.txt, which holds "
        f"paramiko=={version}; change or delete the line."
    )
    assert (done.returncode, sentence in done.stderr.splitlines()) == (2, True)


def test_packages_of_the_user_are_added(
    build: Any, usual: dict[str, str], run_inside: RunInside, debian: Mirror
) -> None:
    build.write("packages.local.txt", "cowsay==6.1\n")
    build.write("packages.local.apt", "# a tool of mine\njq\n")
    build.clone.configure(DEBIAN_MIRROR=f"{debian.address}/debian")

    tags = build.tags()

    assert (tags["postgres"], tags["airflow"] != usual["airflow"]) == (usual["postgres"], True)
    script = "python -c 'import cowsay; print(cowsay.__version__)'; jq --null-input 7"
    assert run_inside(tags["airflow"], "sh", "-c", script).split() == ["6.1", "7"]
    assert [path for path in debian.asked if path.rpartition("/")[2].startswith("jq_")]


@pytest.mark.parametrize("uid", [1234, 50000])
def test_image_has_a_name_for_its_uid(build: Any, run_inside: RunInside, uid: int) -> None:
    tag = f"windrose-test/airflow:{uid}"
    words = [f"--build-arg=BASE={BASE}", f"--build-arg=STACK_UID={uid}", f"--tag={tag}", str(build.clone.folder)]
    run("docker", "buildx", "build", "--load", *words, timeout=600)

    script = 'whoami; echo "$HOME"; cd && pwd; getent passwd "$(id -u)" | cut -d: -f3,4,6'
    said = run_inside(tag, "sh", "-c", script).split()

    name = {1234: "windrose", 50000: "airflow"}[uid]
    assert said == [name, "/home/airflow", "/home/airflow", f"{uid}:0:/home/airflow"]
    assert run("docker", "image", "inspect", "--format={{.Config.User}}", tag).stdout.strip() == str(uid)
