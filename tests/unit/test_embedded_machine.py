"""What a machine gives: memory, file system, ports, other people."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from scripts import embedded_machine, embedded_preflight
from scripts.embedded_services import write_json
from scripts.errors import KitError, Problems
from scripts.settings import SETTINGS, Settings

MOUNTS = """\
22 1 8:1 / / rw - ext4 /dev/sda1 rw
30 22 0:40 / /people rw,relatime shared:9 - nfs4 server:/people rw
31 30 0:41 / /people/local\\040disk rw - xfs /dev/sdb1 rw
32 22 0:42 / /scratch rw - lustre mds:/scratch rw
"""


def settings(*given: str, **values: str) -> Settings:
    """Return the defaults with some values set."""
    return Settings({s.key: s.default for s in SETTINGS} | values, {}, {}, frozenset([*given, *values]))


@pytest.mark.parametrize(
    ("path", "kind", "is_shared"),
    [
        ("/people/maija/windrose", "nfs4", True),
        ("/people/local disk/windrose", "xfs", False),
        ("/scratch/project/windrose", "lustre", True),
        ("/srv/windrose", "ext4", False),
    ],
)
def test_file_system_is_the_one_mounted_nearest(tmp_path: Path, path: str, kind: str, is_shared: bool) -> None:
    (tmp_path / "mountinfo").write_text(MOUNTS, encoding="utf-8")

    found = embedded_machine.file_system(Path(path), tmp_path / "mountinfo")

    assert (found, embedded_machine.is_shared(found)) == (kind, is_shared)


def test_clone_on_nfs_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_machine, "file_system", lambda path: "nfs4")

    with pytest.raises(Problems) as raised:
        embedded_preflight.check(settings(), None)

    assert "lies on nfs4, where several machines share files and SQLite's locks do not hold" in str(raised.value)


def test_memory_is_the_least_of_machine_and_session(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:       16000000 kB\nMemFree: 1 kB\n")
    (tmp_path / "cgroup").write_text("0::/user.slice/user-1000.slice\n")
    folder = tmp_path / "fs" / "user.slice" / "user-1000.slice"
    folder.mkdir(parents=True)
    (folder / "memory.max").write_text("max\n")
    (folder.parent / "memory.max").write_text(f"{4096 * 1024**2}\n")

    limits = embedded_machine.cgroup_limits_mb(tmp_path / "cgroup", tmp_path / "fs")

    assert limits == [4096]
    assert embedded_machine.memory_mb(tmp_path / "meminfo") <= 15625


@pytest.mark.parametrize(("memory", "tasks"), [("1800", 2), ("3000", 6), ("100000", None)])
def test_tasks_at_once_fit_into_the_memory(memory: str, tasks: int | None) -> None:
    most = min(embedded_machine.cores() * 8, 64)

    assert embedded_machine.parallelism(settings(MEMORY_MB=memory)) == min(tasks or most, most)


def test_too_little_memory_is_one_sentence() -> None:
    with pytest.raises(KitError, match="memory: 1200 MB are there, Airflow and its tasks need 1800 MB; ask for more"):
        embedded_machine.parallelism(settings(MEMORY_MB="1200"))


def test_full_disk_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Usage:
        free = 10**8

    monkeypatch.setattr(embedded_preflight.shutil, "disk_usage", lambda path: Usage)

    assert "0.1 GB are free, needed are" in str(embedded_preflight.disk_problems()[0])


def test_login_node_is_told_by_slurm_and_by_other_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_machine.shutil, "which", lambda name: "/usr/bin/sbatch")
    monkeypatch.setattr(embedded_machine, "others_logged_in", lambda: 7)
    assert "login node" in embedded_machine.login_node_warning()

    monkeypatch.setattr(embedded_machine, "others_logged_in", lambda: 0)
    assert embedded_machine.login_node_warning() == ""


@pytest.fixture
def ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that remembers the port, elsewhere."""
    monkeypatch.setattr(embedded_preflight.places, "PORTS", tmp_path / "ports.json")
    return tmp_path / "ports.json"


def test_port_of_last_time_is_taken_again_while_it_is_free(ports: Path) -> None:
    write_json(ports, {"web": (last := embedded_machine.free_port())})

    assert embedded_preflight.choose_port(settings(), None) == last


def test_another_port_is_taken_where_the_usual_ones_are_not_free(ports: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        write_json(ports, {"web": taken.getsockname()[1]})
        embedded_preflight.USUAL_PORT = taken.getsockname()[1]

        chosen = embedded_preflight.choose_port(settings(), None)

        assert chosen != taken.getsockname()[1]
    embedded_preflight.USUAL_PORT = 8080
    assert embedded_preflight.recorded_port() == chosen


def test_port_that_was_asked_for_is_never_replaced(ports: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        asked = settings(AIRFLOW_PORT=str(taken.getsockname()[1]))

        assert "is taken" in str(embedded_preflight.port_problems(asked, None)[0])
    assert embedded_preflight.port_problems(settings(), None) == []
