"""Reading apt's sources, and choosing the packages that bring an engine."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from scripts import apt_sources, engine_packages, engine_start
from scripts.apt_sources import AptSource
from scripts.engine_check import EngineState, first_version, parse_version
from scripts.engine_packages import Package, Plan, System
from scripts.errors import KitError

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
DEB822 = f"""\
# the distribution
Types: deb deb-src
URIs: http://mirror.example/debian
# between two fields
Suites: bookworm bookworm-updates
Components: main
 contrib
Signed-By: {KEYRING}

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBF
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
Enabled: no
URIs: http://off.example/debian
Suites: bookworm
Components: main

Types: deb-src
URIs: http://source.example/debian
Suites: bookworm
Components: main
"""
ONE_LINE = """\
# deb http://off.example/debian bookworm main
deb cdrom:[Debian GNU/Linux 12 _Bookworm_ - amd64]/ bookworm main
deb [arch=amd64,arm64 signed-by=/etc/apt/keyrings/docker.gpg] https://engine.example/linux/debian bookworm stable
deb-src http://mirror.example/debian bookworm main
deb [trusted=yes] mirror+file:///etc/apt/mirrors/debian.list bookworm main contrib  # first
deb http://mirror.example/flat ./
"""
BOOKWORM = System("debian", "bookworm", "Debian 12")


def known(**candidates: str) -> dict[str, Package]:
    """Return what apt knows: nothing but these candidates, and what is installed as `+version`."""
    found = dict.fromkeys(engine_packages.ASKED, Package("", ""))
    for name, version in candidates.items():
        installed = version.removeprefix("+") if version.startswith("+") else ""
        found[name.replace("_", "-").replace("docker-io", "docker.io")] = Package(installed, version.removeprefix("+"))
    return found


def test_deb822_sources_are_read() -> None:
    key = "\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBF\n -----END PGP PUBLIC KEY BLOCK-----"

    assert list(apt_sources.parse_deb822(DEB822)) == [
        AptSource(
            ("http://mirror.example/debian",),
            ("bookworm", "bookworm-updates"),
            ("main", "contrib"),
            (("signed-by", KEYRING),),
        ),
        AptSource(("http://mirror.example/debian-security",), ("bookworm-security",), ("main",), (("signed-by", key),)),
    ]


def test_one_line_sources_are_read() -> None:
    assert list(apt_sources.parse_one_line(ONE_LINE)) == [
        AptSource(
            ("https://engine.example/linux/debian",),
            ("bookworm",),
            ("stable",),
            (("signed-by", "/etc/apt/keyrings/docker.gpg"), ("architectures", "amd64 arm64")),
        ),
        AptSource(
            ("mirror+file:///etc/apt/mirrors/debian.list",), ("bookworm",), ("main", "contrib"), (("trusted", "yes"),)
        ),
        AptSource(("http://mirror.example/flat",), ("./",), ()),
    ]


def test_the_distribution_is_told_from_other_repositories() -> None:
    other = AptSource(("https://other.example/apt",), ("bookworm",), ("main",))
    ours = AptSource(("http://mirror.example/debian/",), ("bookworm",), ("main",))

    assert apt_sources.find_distribution([other, ours], "bookworm") == ours
    assert apt_sources.find_distribution([other], "bookworm") == other
    assert apt_sources.find_distribution([ours], "trixie") is None


def test_added_suite_reads_back_as_the_same_mirror(tmp_path: Path) -> None:
    source = next(apt_sources.parse_deb822(DEB822))
    (tmp_path / "sources.list.d").mkdir()

    written = apt_sources.write_suite(source, "trixie", tmp_path)

    assert apt_sources.read_sources(tmp_path) == [AptSource(source.uris, ("trixie",), ("main",), source.trust)]
    assert [path.relative_to(tmp_path).as_posix() for path in written] == [
        "preferences.d/windrose-trixie",
        "sources.list.d/windrose-trixie.sources",
    ]
    assert written[0].read_text() == "Package: *\nPin: release n=trixie\nPin-Priority: 100\n"


def test_a_key_inside_a_source_goes_along() -> None:
    source = list(apt_sources.parse_deb822(DEB822))[1]

    again = list(apt_sources.parse_deb822(apt_sources.render_suite(source, "trixie")))

    assert again == [AptSource(source.uris, ("trixie",), ("main",), source.trust)]


@pytest.mark.parametrize(
    ("system", "packages", "plan"),
    [
        pytest.param(
            System("debian", "trixie", "Debian 13"),
            known(docker_io="26.1.5", docker_cli="26.1.5", docker_compose="2.26.1-4", docker_buildx="0.13.1"),
            Plan((*engine_packages.ENGINE, "docker.io", "docker-cli", "docker-compose", "docker-buildx"), "Debian 13"),
            id="recent Debian",
        ),
        pytest.param(
            System("ubuntu", "noble", "Ubuntu 24.04"),
            known(docker_io="28.2", docker_compose="1.29.2", docker_compose_v2="2.37.1", docker_buildx="0.21"),
            Plan((*engine_packages.ENGINE, "docker.io", "docker-compose-v2", "docker-buildx"), "Ubuntu 24.04"),
            id="Ubuntu",
        ),
        pytest.param(
            BOOKWORM,
            known(docker_ce="5:29.0", docker_io="20.10", docker_compose="1.29.2"),
            Plan(engine_packages.DOCKERS_OWN, "Docker's own apt repository, as configured here"),
            id="Docker's own repository",
        ),
        pytest.param(
            BOOKWORM,
            known(docker_io="20.10", docker_compose="1.29.2-3"),
            Plan(
                (*engine_packages.ENGINE, *(f"{name}/trixie" for name in engine_packages.FROM_NEWER)),
                "Debian 12, and its next release trixie pinned at 100",
                "trixie",
            ),
            id="Debian 12",
        ),
        pytest.param(
            System("debian", "trixie", "Debian 13"),
            known(docker_ce="5:29.0", docker_io="+26.1.5", docker_compose="2.26.1", docker_buildx="0.13.1"),
            Plan((*engine_packages.ENGINE, "docker.io", "docker-compose", "docker-buildx"), "Debian 13"),
            id="the distribution's engine is installed already",
        ),
    ],
)
def test_packages_are_chosen(system: System, packages: dict[str, Package], plan: Plan) -> None:
    assert engine_packages.choose_packages(system, packages) == plan


@pytest.mark.parametrize(
    ("system", "problem"),
    [
        pytest.param(System("fedora", "", "Fedora 43"), "knows Debian and Ubuntu only, this is Fedora 43", id="Fedora"),
        pytest.param(
            System("debian", "bullseye", "Debian 11"),
            "Debian 11 offers no Docker Compose 2.24 or newer with Buildx",
            id="old Debian",
        ),
    ],
)
def test_a_system_without_packages_is_told(system: System, problem: str) -> None:
    with pytest.raises(KitError) as raised:
        engine_packages.choose_packages(system, known())

    assert raised.value.problem == problem


def test_apt_policy_is_read() -> None:
    text = (
        "docker-ce:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n"
        "docker.io:\n  Installed: 26.1.5\n  Candidate: 26.1.6\n  Version table:\n     26.1.6 100\n"
    )

    assert engine_packages.parse_policy(text) == {
        "docker-ce": Package("", ""),
        "docker.io": Package("26.1.5", "26.1.6"),
    }


@pytest.mark.parametrize(
    ("fields", "system"),
    [
        ({"ID": "debian", "VERSION_CODENAME": "bookworm", "PRETTY_NAME": "Debian 12"}, BOOKWORM),
        (
            {"ID": "linuxmint", "ID_LIKE": "ubuntu debian", "VERSION_CODENAME": "wilma", "UBUNTU_CODENAME": "noble"},
            System("ubuntu", "noble", "ubuntu"),
        ),
        ({"ID": "arch"}, System("arch", "", "arch")),
        ({}, System("", "", "")),
    ],
    ids=["Debian", "made from Ubuntu", "other", "none"],
)
def test_the_system_is_named(fields: dict[str, str], system: System) -> None:
    assert engine_packages.system_of(fields) == system


def test_what_is_missing_is_said_in_words() -> None:
    assert EngineState("29.0", "2.24.0", "0.13.1").missing == []
    assert EngineState("", "2.20.3", "").missing == [
        "no Docker Engine answers",
        "Docker Compose is 2.20.3, needed is 2.24",
        "Docker Buildx is missing",
    ]


def test_versions_are_read_from_what_programs_print() -> None:
    assert parse_version("5:2.26.1-4") == (2, 26, 1)
    assert parse_version("v2.40.3") > (2, 24)
    assert parse_version("dev") == ()
    assert first_version("example.org/buildx 0.13.1+ds1 0.13.1+ds1-3") == "0.13.1+ds1"


@pytest.fixture
def run_folder_of_a_dead_engine(tmp_path: Path) -> Path:
    """A run folder whose pid files name another program and nothing, and a socket where nobody listens."""
    (tmp_path / "containerd").mkdir()
    (tmp_path / "docker/containerd").mkdir(parents=True)
    (tmp_path / "docker.pid").write_text(str(os.getpid()))
    (tmp_path / "docker/containerd/containerd.pid").write_text("not a number")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "containerd/containerd.sock"))
    return tmp_path


def test_left_overs_of_a_dead_engine_are_cleared(run_folder_of_a_dead_engine: Path) -> None:
    engine_start.clear_left_overs(run_folder_of_a_dead_engine)

    assert [path for path in run_folder_of_a_dead_engine.rglob("*") if not path.is_dir()] == []


def test_a_running_engine_keeps_its_files(tmp_path: Path) -> None:
    program = tmp_path / "dockerd"
    program.symlink_to("/bin/sleep")
    (tmp_path / "containerd").mkdir()
    with subprocess.Popen([str(program), "60"]) as engine, socket.socket(socket.AF_UNIX) as listener:
        (tmp_path / "docker.pid").write_text(str(engine.pid))
        listener.bind(str(tmp_path / "containerd/containerd.sock"))
        listener.listen()

        engine_start.clear_left_overs(tmp_path)
        found = engine_start.find_starting(tmp_path)
        engine.kill()

    assert found == engine.pid
    assert (tmp_path / "docker.pid").exists() and (tmp_path / "containerd/containerd.sock").exists()
