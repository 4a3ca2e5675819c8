"""EXECUTOR=celery: workers have the keys and the pinned hosts, as the scheduler has with EXECUTOR=local."""

from __future__ import annotations

from tests.engine_support import Stack
from tests.platform_support import PlatformFile, log_in, welcome
from tests.ssh_support import KeyMaker, Servers, public


def test_platforms_are_reached_from_workers(
    celery: Stack, servers: Servers, platforms: PlatformFile, keys: KeyMaker
) -> None:
    key = keys.make("fleet")
    gate = servers.start("ssh-gate", keys=(public(key),))
    inner = servers.start_behind(gate, "ssh-inner", keys=(public(key),))
    platforms.key("fleet", key)
    platforms.server("gate", gate, "fleet")
    platforms.server("inner", inner, "fleet", jump="hpc-gate")
    platforms.register()

    answers = log_in(celery, "hpc-gate", "hpc-inner")

    assert answers == {"hpc-gate": welcome("ssh-gate"), "hpc-inner": welcome("ssh-inner")}
