"""What `.env` says of a site's mirrors is used: the registry with its login, the Debian mirror."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from scripts import apt, base_images, images, registry, settings
from scripts.errors import KitError
from tests.engine_support import eventually, free_port, run
from tests.mirror_support import PASSWORD, USER, Mirror

TINY = "FROM scratch\nLABEL of=windrose-test\n"
CONFIGURATION = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}/storage}}}}
http: {{addr: "127.0.0.1:{port}"}}
auth: {{htpasswd: {{realm: site, path: {folder}/htpasswd}}}}
log: {{level: error}}
"""


@dataclass
class Registry:
    """A registry on loopback that wants a login, and the folder of a person who has none."""

    prefix: str
    person: Path

    def settings(self, folder: Path, **more: str) -> settings.Settings:
        """Return settings that name this registry."""
        lines = [f"{key}={value}\n" for key, value in {"IMAGE_REGISTRY": self.prefix, **more}.items()]
        (folder / "env").write_text("".join(lines), encoding="utf-8")
        return settings.load(folder / "env")

    def push(self, reference: str) -> None:
        """Put a tiny image into it, and forget it here."""
        tag = f"{self.prefix}/{reference}"
        run("docker", "buildx", "build", "--load", f"--tag={tag}", "-", stdin=TINY)
        config = self.person / "of-the-site"
        host = self.prefix.split("/")[0]
        words = ("docker", "--config", str(config))
        run(*words, "login", "--username", USER, "--password-stdin", host, stdin=PASSWORD)
        run(*words, "push", "--quiet", tag)
        run("docker", "image", "rm", tag)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """A real registry: Debian's own package, unpacked and started."""
    apt.download("docker-registry", tmp_path)
    run("dpkg-deb", "--extract", str(next(tmp_path.glob("*.deb"))), str(tmp_path / "package"))
    port = free_port()
    (tmp_path / "config.yml").write_text(CONFIGURATION.format(folder=tmp_path, port=port), encoding="utf-8")
    secret = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5)).decode()
    (tmp_path / "htpasswd").write_text(f"{USER}:{secret}\n", encoding="utf-8")
    program = tmp_path / "package" / "usr" / "bin" / "docker-registry"
    server = subprocess.Popen([program, "serve", tmp_path / "config.yml"], stderr=subprocess.DEVNULL)
    person = tmp_path / "person"
    person.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(person))
    try:
        address = f"http://127.0.0.1:{port}/v2/"
        eventually(
            lambda: run("curl", "-sf", "-u", f"{USER}:{PASSWORD}", address, check=False).returncode == 0, within=20
        )
        yield Registry(f"127.0.0.1:{port}/mirror", person)
    finally:
        server.kill()
        server.wait()


def test_image_comes_through_the_mirror_with_its_login(
    site: Registry, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    site.push("windrose-test/tiny:1")
    chosen = site.settings(tmp_path, IMAGE_REGISTRY_USER=USER, IMAGE_REGISTRY_PASSWORD=PASSWORD)
    reference = f"{site.prefix}/windrose-test/tiny:1"

    failure = registry.pull(reference, chosen)

    here = images.image_id(reference)
    run("docker", "image", "rm", reference, check=False)
    assert (failure, here is not None) == (None, True)
    # What logs in is gone, and the person's own configuration is as it was.
    assert not (site.person / "config.json").exists()
    assert list(settings.STATE.glob("docker-*")) == []
    assert PASSWORD not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("login", "problem"),
    [
        ({}, "wants a login; set IMAGE_REGISTRY_USER and IMAGE_REGISTRY_PASSWORD in .env, or run `docker login`."),
        (
            {"IMAGE_REGISTRY_USER": USER, "IMAGE_REGISTRY_PASSWORD": "planted-wrong-one"},
            "refuses the login; mend IMAGE_REGISTRY_USER and IMAGE_REGISTRY_PASSWORD in .env.",
        ),
    ],
    ids=["none", "wrong"],
)
def test_refused_login_stops_and_builds_nothing_instead(
    site: Registry, tmp_path: Path, login: dict[str, str], problem: str
) -> None:
    chosen = site.settings(tmp_path, **login)

    with pytest.raises(KitError) as told:
        registry.pull(f"{site.prefix}/windrose-test/tiny:1", chosen)

    assert str(told.value) == f"{site.prefix}: {problem}"


def test_registry_that_lacks_the_image_is_told(site: Registry, tmp_path: Path) -> None:
    chosen = site.settings(tmp_path, IMAGE_REGISTRY_USER=USER, IMAGE_REGISTRY_PASSWORD=PASSWORD)
    reference = f"{site.prefix}/windrose-test/none:1"

    assert registry.pull(reference, chosen) == f"{reference} cannot be pulled (the registry does not have it)"


@pytest.mark.skipif(os.geteuid() != 0, reason="debootstrap needs root")
def test_debian_is_made_from_the_sites_mirror(debian: Mirror, tmp_path: Path) -> None:
    (tmp_path / "env").write_text(f"DEBIAN_MIRROR={debian.address}/debian\n", encoding="utf-8")
    tag = "windrose-test/debian:mirrored"

    base_images.make_debian(tag, settings.load(tmp_path / "env"))

    sources = run("docker", "run", "--rm", "--network=none", tag, "cat", "/etc/apt/sources.list").stdout
    assert f"{debian.address}/debian" in sources
    assert [path for path in debian.asked if path.endswith(".deb")]


def test_mirror_that_does_not_answer_is_named(build: Any, usual: dict[str, str], base_of: Any) -> None:
    base_of(f"FROM {usual['airflow']}\nUSER airflow\n")
    build.write("packages.local.apt", "jq\n")
    build.clone.configure(DEBIAN_MIRROR=f"http://127.0.0.1:{free_port()}/debian")

    done = build.make()

    sentence = (
        "image airflow: packages.local.apt cannot be installed (apt-get says why in the lines above); "
        "mend a name, or set DEBIAN_MIRROR in .env to a mirror that you reach."
    )
    assert (done.returncode, sentence in done.stderr.splitlines()) == (2, True), done.stderr
