"""The images of a bundle: what `docker save` writes, and what `docker load` must bring back."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from scripts import bundle_file, images, process
from scripts.bundle_file import Bundle
from scripts.bundle_manifest import IMAGES, Manifest, ShippedImage
from scripts.console import progress
from scripts.errors import KitError
from scripts.settings import Settings

GZIP = 31  # zlib's window bits for a gzip file
FAST = 1  # 700 MB in half a minute; the best level takes four times as long for 6 % less


@contextmanager
def prepared(settings: Settings) -> Iterator[list[str]]:
    """Give the references to ship: the bases by their plain names, and Airflow with its packages."""
    wanted = images.needed(settings)
    bases = images.choose_bases(settings, wanted)
    base = bases[images.AIRFLOW.name]
    packages = images.packages_tag(images.identity(base))
    plain = {reference: plain_name(name, reference) for name, reference in bases.items()}
    ours = [name for name in (packages, *plain.values()) if images.image_id(name) is None]
    try:
        if packages in ours:
            images.build(images.PACKAGES, packages, {"BASE": base}, settings, more=("--target=packages",))
        for reference, name in plain.items():
            if name in ours:
                process.run(["docker", "tag", reference, name])
        yield [*plain.values(), packages]
    finally:
        for name in ours:
            process.run(["docker", "image", "rm", name], check=False)


def plain_name(name: str, reference: str) -> str:
    """Return what a base is called without the mirror it came through."""
    official = images.references()[f"{name.upper()}_OFFICIAL"]
    return official if reference.endswith(f"/{official}") else reference


def describe(references: list[str]) -> tuple[ShippedImage, ...]:
    """Return what the manifest says of each image."""
    return tuple(
        ShippedImage(name, images.image_id(name) or "", images.identity(name), image_size(name)) for name in references
    )


def image_size(reference: str) -> int:
    """Return the size of an image in bytes."""
    return int(process.run(["docker", "image", "inspect", "--format={{.Size}}", reference]).stdout)


def save(references: list[str], target: Path) -> None:
    """Write the images into one compressed file; what they share is in it once."""
    progress(f"saving {len(references)} images")
    packer = zlib.compressobj(FAST, zlib.DEFLATED, GZIP)
    read = reported = 0
    try:
        with target.open("wb") as file:
            for piece in process.read_bytes(["docker", "save", *references]):
                file.write(packer.compress(piece))
                read += len(piece)
                if read - reported >= bundle_file.REPORT_EVERY:
                    reported = read
                    progress(f"  {read / 1000**2:.0f} MB")
            file.write(packer.flush())
    except OSError as error:
        raise bundle_file.disk_error(error, target.parent) from error


def are_here(manifest: Manifest) -> bool:
    """Say whether the engine has every image of a bundle already."""
    return all(images.identity(image.reference) == image.identity for image in manifest.images)


def load(bundle: Bundle, places: Mapping[str, int]) -> None:
    """Hand the images to the engine, and see that they arrived as what they were."""
    if are_here(bundle.manifest):
        progress("the images are here already")
        return
    progress(f"loading {len(bundle.manifest.images)} images into the engine")
    process.write_bytes(["docker", "load", "--quiet"], bundle_file.read_file(bundle, IMAGES, places))
    for image in bundle.manifest.images:
        if images.identity(image.reference) != image.identity:
            fix = "load it once more; if that does not help, update the engine"
            raise KitError("Docker", f"{image.reference} did not arrive as the bundle holds it", fix)
