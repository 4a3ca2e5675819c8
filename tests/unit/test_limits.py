from __future__ import annotations

from pathlib import Path

import pytest

from scripts import limits, settings
from scripts.errors import KitError


def chosen(folder: Path, text: str = "") -> settings.Settings:
    env_file = folder / ".env"
    env_file.write_text(text)
    return settings.load(env_file)


@pytest.mark.parametrize("total", [3000, 4000, 8000, 16000, 64000, 512000])
@pytest.mark.parametrize("text", ["", "EXECUTOR=celery\n", "EXECUTOR=celery\nWORKERS=2\n"])
def test_machine_is_not_promised_twice(tmp_path: Path, total: int, text: str) -> None:
    found = chosen(tmp_path, text)

    share = limits.compute(found, memory_mb=total, cores=4)

    workers = int(found["WORKERS"])
    lasting = {name: size for name, size in share.memory.items() if name not in ("init", "worker")}
    # A small machine gives each its least; limits are not reservations, so a little over is no harm there.
    assert sum(lasting.values()) + share.memory.get("worker", 0) * workers <= max(total, 4600)


def test_service_that_runs_tasks_gets_what_is_left(tmp_path: Path) -> None:
    local = limits.compute(chosen(tmp_path), memory_mb=64000, cores=16)
    celery = limits.compute(chosen(tmp_path, "EXECUTOR=celery\n"), memory_mb=64000, cores=16)

    assert local.memory["scheduler"] > 32000
    assert celery.memory["worker"] > 32000 > 1000 > celery.memory["scheduler"]


def test_parallelism_follows_memory_and_cores(tmp_path: Path) -> None:
    small = limits.compute(chosen(tmp_path), memory_mb=4000, cores=16)
    few_cores = limits.compute(chosen(tmp_path), memory_mb=64000, cores=2)
    named = limits.compute(chosen(tmp_path, "PARALLELISM=40\n"), memory_mb=64000, cores=2)

    assert small.parallelism < 32
    assert (few_cores.parallelism, named.parallelism) == (16, 40)


def test_too_little_memory_is_told_with_both_numbers(tmp_path: Path) -> None:
    with pytest.raises(KitError, match="has 1024 MB, the stack needs 3000 MB"):
        limits.compute(chosen(tmp_path), memory_mb=1024, cores=2)
