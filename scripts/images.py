"""Which images the stack runs, and building them when an input has changed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from scripts import base_images, process, registry
from scripts.build_inputs import build_secrets
from scripts.console import progress
from scripts.errors import CommandFailed, KitError
from scripts.settings import ROOT, STATE, Settings, environment

REFERENCES = ROOT / "images" / "images.env"
BUILT = STATE / "images"
RECIPE = "windrose.recipe"  # label of a stand-in: what it was made by
STEP = re.compile(r"#\d+ \[(?:\S+ )?\s*(\d+/\d+)\] (RUN|COPY) (.{0,70})")


@dataclass(frozen=True, slots=True)
class Image:
    """One image we build: on which base, from which Dockerfile, and the files that go in."""

    name: str
    dockerfile: str
    inputs: tuple[str, ...]
    like: str = ""  # the image whose base it shares

    @property
    def base(self) -> str:
        """The name under which images.env has its base."""
        return self.like or self.name

    @property
    def repository(self) -> str:
        """The image's name without a tag."""
        return f"windrose/{self.name}"


AIRFLOW = Image(
    "airflow",
    "Dockerfile",
    (
        *("packages.txt", "packages.local.txt", "packages.local.apt", "constraints.txt"),
        *("images/airflow", "scripts/in_airflow"),
    ),
)
# What `make bundle` ships of it: all that needs a network, and nothing that depends on who runs it.
PACKAGES = Image("airflow-packages", AIRFLOW.dockerfile, AIRFLOW.inputs[:-1])
POSTGRES = Image("postgres", "images/postgres/Dockerfile", ("images/postgres",))
VALKEY = Image("valkey", "images/valkey/Dockerfile", ("images/valkey",))
DEBIAN = Image("debian", "", ())  # itself only a base
SLURM = Image("slurm", "images/slurm/Dockerfile", ("images/slurm",), like="debian")
DOCKER_PROXY = Image("docker-proxy", "images/docker-proxy/Dockerfile", ("images/docker-proxy",), like="airflow")


@cache
def references() -> dict[str, str]:
    """Return what images.env says: every reference, official and local."""
    lines = REFERENCES.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def needed(settings: Settings) -> list[Image]:
    """Return the images that these settings need."""
    more = [*([VALKEY] if settings.uses_celery else []), *([DOCKER_PROXY] if settings.runs_containers else [])]
    return [AIRFLOW, POSTGRES, *more]


def ensure(settings: Settings, uid: int) -> dict[str, str]:
    """Return image name -> tag of what to run, building what is missing or whose inputs have changed."""
    wanted = needed(settings)
    bases = choose_bases(settings, wanted)
    tags = {}
    for image in wanted:
        base = bases[image.base]
        tag = f"{image.repository}:{version(image)}-{fingerprint(image, identity(base), str(uid))}"
        if image_id(tag) is None:
            arguments = {"BASE": base, "STACK_UID": str(uid)}
            if image is AIRFLOW:
                arguments |= {"DEBIAN_MIRROR": settings["DEBIAN_MIRROR"], **loaded_packages(base)}
            # A machine without a network builds these, too, so no step may need one.
            offline = image is not AIRFLOW or "PACKAGES" in arguments
            build(image, tag, arguments, settings, more=("--network=none",) if offline else ())
        tags[image.name] = tag
    return tags


def ensure_slurm(settings: Settings) -> str:
    """Return the tag of the demo cluster's image, built where it is missing or its inputs have changed."""
    base = choose_bases(settings, [DEBIAN])[DEBIAN.name]
    tag = f"{SLURM.repository}:{version(SLURM)}-{fingerprint(SLURM, identity(base))}"
    if image_id(tag) is None:
        build(SLURM, tag, {"BASE": base, "DEBIAN_MIRROR": settings["DEBIAN_MIRROR"]}, settings)
    return tag


def loaded_packages(base: str) -> dict[str, str]:
    """Return the build argument that goes on from packages that `make load` brought; {} where it brought none."""
    tag = packages_tag(identity(base))
    return {"PACKAGES": tag} if image_id(tag) else {}


def packages_tag(base_identity: str) -> str:
    """Return the tag under which a bundle carries Airflow with its packages."""
    return f"{PACKAGES.repository}:{version(AIRFLOW)}-{fingerprint(PACKAGES, base_identity)}"


def version(image: Image) -> str:
    """Return the version of the program in an image, as images.env says."""
    return references()[f"{image.base.upper()}_LOCAL"].rsplit(":", 1)[1].removesuffix("-local")


def choose_bases(settings: Settings, wanted: list[Image]) -> dict[str, str]:
    """Return the base image of each: official where it is here or can be pulled, else built on this machine."""
    wanted = [image for image in wanted if not image.like]
    official = {image.name: official_reference(image.name, settings) for image in wanted}
    local = {image.name: references()[f"{image.name.upper()}_LOCAL"] for image in wanted}
    source = settings["IMAGE_SOURCE"]
    if source != "local" and are_here(official):
        return official
    if source == "auto" and all(is_current(image) for image in wanted):
        return local
    if source != "local":
        missing = [reference for reference in official.values() if image_id(reference) is None]
        failure = next(filter(None, (registry.pull(reference, settings) for reference in missing)), None)
        if failure is None:
            return official
        # A bundle names them as upstream does, whatever mirror they came through.
        upstream = {image.name: references()[f"{image.name.upper()}_OFFICIAL"] for image in wanted}
        if are_here(upstream):
            return upstream
        if source == "registry":
            raise KitError("images", failure, "check the network or IMAGE_REGISTRY, or set IMAGE_SOURCE=local in .env")
        progress(f"images: {failure}; building them here from Debian and the package index (IMAGE_SOURCE=auto)")
    build_missing_bases(wanted, settings)
    return local


def build_missing_bases(wanted: list[Image], settings: Settings) -> None:
    """Build the stand-ins that are not here or that an older recipe made."""
    for image in wanted:
        if not is_current(image):
            build_base(image, settings)


def are_here(wanted: Mapping[str, str]) -> bool:
    """Say whether the engine has every image."""
    return all(image_id(reference) for reference in wanted.values())


def official_reference(name: str, settings: Settings) -> str:
    """Return upstream's reference, behind the private mirror where one is set."""
    reference = references()[f"{name.upper()}_OFFICIAL"]
    mirror = settings["IMAGE_REGISTRY"]
    return f"{mirror}/{reference}" if mirror else reference


def recipe(image: Image) -> str:
    """Return a short name of what makes the stand-in of an official image."""
    digest = hashlib.sha256()
    for path in files_below(ROOT / "images" / f"{image.name}-base"):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def is_current(image: Image) -> bool:
    """Say whether the stand-in is here and was made by today's recipe."""
    template = f'--format={{{{index .Config.Labels "{RECIPE}"}}}}'
    reference = references()[f"{image.name.upper()}_LOCAL"]
    if image is DEBIAN:
        return image_id(reference) is not None
    return process.run(["docker", "image", "inspect", template, reference], check=False).stdout.strip() == recipe(image)


def build_base(image: Image, settings: Settings) -> None:
    """Build the stand-in of an official image, on a Debian that debootstrap makes."""
    debian = references()["DEBIAN_LOCAL"]
    if image_id(debian) is None:
        base_images.make_debian(debian, settings)
    if image is DEBIAN:
        return
    base = Image(f"{image.name}-base", f"images/{image.name}-base/Dockerfile", ())
    build(base, references()[f"{image.name.upper()}_LOCAL"], {"DEBIAN": debian, "RECIPE": recipe(image)}, settings)


def build(
    image: Image, tag: str, build_arguments: dict[str, str], settings: Settings, *, more: tuple[str, ...] = ()
) -> None:
    """Build one image, one line a step; on failure show what the failing step said."""
    progress(f"building {tag}")
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        step = STEP.match(line)
        if step:
            progress(f"  {image.name} {step[1]} {step[2]} {step[3].strip()}")

    proxies = {key: settings[key] for key in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY") if settings[key]}
    with build_secrets(settings) as secrets:
        argv = ["docker", "buildx", "build", "--load", "--progress=plain", f"--file={image.dockerfile}", f"--tag={tag}"]
        # Debian's archive and the index are reached as this machine reaches them; values of proxies stay out of argv.
        argv += [f"--build-arg={key}={value}" for key, value in build_arguments.items()]
        argv += [f"--build-arg={key}" for key in proxies]
        argv += [f"--secret=id={name},src={path}" for name, path in secrets.items()]
        code = process.stream([*argv, *more, "."], on_line=on_line, environment=environment(proxies), folder=ROOT)
    if code != 0:
        raise build_failure(image, argv, code, lines)


def build_failure(image: Image, argv: list[str], code: int, lines: list[str]) -> KitError:
    """Return the build's own sentence where it said one, else the end of its output."""
    for number, line in enumerate(lines):
        said = re.search(r"\d windrose: (.+?); (.+?)\.?$", line)
        if said:
            if "lines above" in line:
                show_steps(lines[:number])
            return KitError(f"image {image.name}", said[1], said[2])
    if any("no space left on device" in line for line in lines):
        return KitError(f"image {image.name}", "the disk is full", "free some space (`docker system df`), run it again")
    show_steps(lines)
    return CommandFailed(argv, code, f"building {image.dockerfile} failed")


def show_steps(lines: list[str]) -> None:
    """Print the last that the steps of a build said."""
    for line in [line for line in lines if re.match(r"#\d+ \d", line)][-25:]:
        progress(f"  {line}")


def fingerprint(image: Image, *more: str) -> str:
    """Return a short name of everything that goes into an image: the same inputs, the same tag, no build."""
    digest = hashlib.sha256(" ".join(more).encode())
    for name in (image.dockerfile, *image.inputs):
        for path in files_below(ROOT / name):
            digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def files_below(path: Path) -> list[Path]:
    """Return a file itself, or all files of a folder; nothing where there is neither."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    return [path] if path.is_file() else []


def image_id(reference: str) -> str | None:
    """Return the id of an image the engine has, or None."""
    found = process.run(["docker", "image", "inspect", "--format={{.Id}}", reference], check=False)
    return found.stdout.strip() if found.code == 0 else None


def identity(reference: str) -> str:
    """Return what an image is, '' where it is not here: unlike its id, the same on every engine it is brought to."""
    template = "--format={{.Created}} {{json .RootFS.Layers}}"
    found = process.run(["docker", "image", "inspect", template, reference], check=False)
    return hashlib.sha256(found.stdout.encode()).hexdigest() if found.code == 0 else ""


def remove_outdated(current: list[str]) -> None:
    """Remove the builds that this clone used before and now uses no more; another clone's are not ours to remove."""
    before = BUILT.read_text(encoding="utf-8").split() if BUILT.exists() else []
    for tag in set(before) - set(current):
        # Without force: the engine keeps an image that any container still uses.
        process.run(["docker", "image", "rm", tag], check=False)
    BUILT.write_text("\n".join(current), encoding="utf-8")
