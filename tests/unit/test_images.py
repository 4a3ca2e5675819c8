from __future__ import annotations

from pathlib import Path

import pytest

from scripts import images, registry, settings
from scripts.images import AIRFLOW, DOCKER_PROXY, POSTGRES, SLURM, STEP, VALKEY


def chosen(folder: Path, text: str = "") -> settings.Settings:
    (folder / ".env").write_text(text)
    return settings.load(folder / ".env")


def test_every_reference_is_pinned_and_local_ones_never_take_upstreams_name() -> None:
    references = images.references()

    official = {name: value for name, value in references.items() if name.endswith("_OFFICIAL")}
    local = {name: value for name, value in references.items() if name.endswith("_LOCAL")}
    assert (len(official), len(local)) == (4, 4)
    assert all(value.split(":")[1] not in ("", "latest") for value in official.values())
    assert all(value.startswith("windrose/") and value.endswith("-local") for value in local.values())


def test_dockerfile_defaults_to_the_pinned_base() -> None:
    text = (settings.ROOT / "Dockerfile").read_text(encoding="utf-8")

    assert f"ARG BASE={images.references()['AIRFLOW_OFFICIAL']}\n" in text
    assert "# syntax=" not in text


def test_private_mirror_stands_before_every_image(tmp_path: Path) -> None:
    found = chosen(tmp_path, "IMAGE_REGISTRY=mirror.example.org:5000/docker\n")

    names = [images.official_reference(image.name, found) for image in (AIRFLOW, POSTGRES, VALKEY)]

    assert all(name.startswith("mirror.example.org:5000/docker/") for name in names)


def test_broker_image_is_needed_with_celery_only(tmp_path: Path) -> None:
    assert images.needed(chosen(tmp_path)) == [AIRFLOW, POSTGRES]
    assert images.needed(chosen(tmp_path, "EXECUTOR=celery\n")) == [AIRFLOW, POSTGRES, VALKEY]


def test_proxy_of_container_jobs_is_needed_with_them_only_and_brings_no_base_of_its_own(tmp_path: Path) -> None:
    needed = images.needed(chosen(tmp_path, "JOB_IMAGES=example.org/team/*\n"))

    assert needed == [AIRFLOW, POSTGRES, DOCKER_PROXY]
    assert (DOCKER_PROXY.base, images.version(DOCKER_PROXY)) == ("airflow", images.version(AIRFLOW))


def test_everything_that_goes_into_an_image_is_an_input_of_its_tag() -> None:
    for image in (AIRFLOW, POSTGRES, VALKEY, DOCKER_PROXY, SLURM):
        text = (settings.ROOT / image.dockerfile).read_text(encoding="utf-8")
        copied = [
            word.rstrip("/") for line in text.splitlines() if line.startswith("COPY") for word in line.split()[1:-1]
        ]
        sources = [word for word in copied if not word.startswith("--") and "*" not in word]
        assert sources
        for source in sources:
            assert any(source == given or source.startswith(f"{given}/") for given in image.inputs), source


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("dial tcp: lookup registry on 10.0.0.1:53: no such host", "the registry's name is not found"),
        ("net/http: request canceled (Client.Timeout exceeded)", "the registry does not answer"),
        ("x509: certificate signed by unknown authority", "the engine does not trust the registry's certificate"),
        ("something else", "something else"),
    ],
)
def test_reason_of_a_failed_pull_is_told_in_words(said: str, reason: str) -> None:
    assert registry.reason_of([said]) == reason


@pytest.mark.parametrize(
    "line",
    ["#9 [2/6] RUN apt-get update", "#9 [stage-0 2/6] RUN apt-get update", "#12 [stage-0  2/10] RUN apt-get update"],
)
def test_build_step_is_recognised(line: str) -> None:
    step = STEP.match(line)

    assert step is not None and step[2] == "RUN"


def test_sentence_of_the_build_becomes_the_error() -> None:
    line = "#14 0.412 windrose: packages.local.txt line 1: a<2 contradicts constraints.txt; change or delete the line."

    error = images.build_failure(AIRFLOW, ["docker"], 1, ["#13 DONE", line])

    assert str(error) == (
        "image airflow: packages.local.txt line 1: a<2 contradicts constraints.txt; change or delete the line."
    )


def test_what_needs_a_network_does_not_depend_on_who_runs_it() -> None:
    text = (settings.ROOT / "Dockerfile").read_text(encoding="utf-8")

    packages, last = text.split("\nFROM ${PACKAGES}\n")

    assert "STACK_UID" not in packages
    assert not any(word in last for word in ("apt-get", "install", "secret", "--mount"))
    assert "scripts/in_airflow" not in images.PACKAGES.inputs
    assert [name for name in images.AIRFLOW.inputs if name not in images.PACKAGES.inputs] == ["scripts/in_airflow"]


def test_packages_are_found_by_what_they_were_made_from() -> None:
    same, other = images.packages_tag("base"), images.packages_tag("another base")

    assert same == images.packages_tag("base") != other
    assert same.startswith("windrose/airflow-packages:3.3.2-")
