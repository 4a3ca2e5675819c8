"""Write a bundle whole or not at all; read one and believe nothing before its sums are checked."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts import bundle_manifest
from scripts.bundle_manifest import Entry, Manifest
from scripts.console import progress
from scripts.errors import KitError

CHUNK = 1 << 20
REPORT_EVERY = 256 * 1000**2
END = 1024  # an archive ends with two blocks of zeros
CUT = "is cut short"
TAKE_IT = "take the file that `make bundle` wrote, as it is"
COPY_AGAIN = "copy it again, and compare with `sha256sum` on both machines"


@dataclass(frozen=True, slots=True)
class Source:
    """One file on its way into a bundle: a path, or its bytes."""

    path: Path | None = None
    content: bytes = b""
    mode: int = 0o644

    def entry(self) -> Entry:
        """Return its size and sum."""
        if self.path is None:
            return Entry(len(self.content), hashlib.sha256(self.content).hexdigest())
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            while piece := file.read(CHUNK):
                digest.update(piece)
        return Entry(self.path.stat().st_size, digest.hexdigest())


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose manifest was read, and nothing else yet."""

    path: Path
    manifest: Manifest
    fingerprint: str  # of the manifest, which holds the sums of all the rest


def write(manifest: Manifest, sources: Mapping[str, Source], temporary: Path, target: Path) -> str:
    """Write all into a temporary file, then give it its name; return the fingerprint."""
    head = manifest.to_json()
    now = int(time.time())
    try:
        with tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as archive:
            for name, source in {bundle_manifest.NAME: Source(content=head), **sources}.items():
                info = tarfile.TarInfo(name)
                info.mode, info.mtime = source.mode, now
                info.size = len(source.content) if source.path is None else source.path.stat().st_size
                with source.path.open("rb") if source.path else io.BytesIO(source.content) as file:
                    archive.addfile(info, file)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        raise disk_error(error, target.parent) from error
    return hashlib.sha256(head).hexdigest()


def disk_error(error: OSError, folder: Path) -> Exception:
    """Return the sentence for a full disk, and any other error as it is."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return error
    return KitError(str(folder), "the disk is full", "free some space and run the same command again")


def open_bundle(path: Path) -> Bundle:
    """Read the manifest, the first file of a bundle."""
    try:
        text = read_manifest(path)
        return Bundle(path, bundle_manifest.from_json(text), hashlib.sha256(text).hexdigest())
    except FileNotFoundError as error:
        raise KitError(str(path), "is not there", "give its path as seen from this folder: BUNDLE=../<file>") from error
    except (tarfile.TarError, EOFError) as error:
        raise KitError(path.name, "is not a bundle of Windrose, or cut short at its beginning", TAKE_IT) from error
    except OSError as error:
        raise KitError(str(path), error.strerror or "cannot be read", "take a file that you may read") from error
    except ValueError as error:
        raise KitError(path.name, str(error), TAKE_IT) from error


def read_manifest(path: Path) -> bytes:
    """Return the first file of a bundle, which must be its manifest."""
    with tarfile.open(path, "r:") as archive:
        first = archive.next()
        if first is None or first.name != bundle_manifest.NAME or not first.isreg():
            raise tarfile.ReadError("no manifest")
        if first.size > bundle_manifest.LARGEST:
            raise ValueError("its manifest is too large")
        file = archive.extractfile(first)
        text = file.read() if file else b""
    if len(text) < first.size:
        raise KitError(path.name, CUT, COPY_AGAIN)
    return text


def check_all(bundle: Bundle) -> dict[str, int]:
    """Compare every file with its sum; return where in the bundle each begins."""
    total = sum(entry.size for entry in bundle.manifest.files.values())
    progress(f"checking {len(bundle.manifest.files)} files, {total / 1000**2:.0f} MB")
    places: dict[str, int] = {}
    done = reported = 0
    try:
        with tarfile.open(bundle.path, "r:") as archive:
            end = past(archive.next())
            while member := archive.next():
                check_member(bundle, member, places)
                places[member.name] = member.offset_data
                for piece in read_file(bundle, member.name, places):
                    done += len(piece)
                    if done - reported >= REPORT_EVERY:
                        reported = done
                        progress(f"  {done / 1000**2:.0f} of {total / 1000**2:.0f} MB")
                end = past(member)
    except (tarfile.TarError, EOFError) as error:
        raise KitError(bundle.path.name, CUT, COPY_AGAIN) from error
    check_end(bundle, end)
    if set(places) != set(bundle.manifest.files):
        raise KitError(bundle.path.name, CUT, COPY_AGAIN)
    return places


def past(member: tarfile.TarInfo | None) -> int:
    """Return where in the bundle the next file begins."""
    return member.offset_data + -(-member.size // 512) * 512 if member else 0


def check_member(bundle: Bundle, member: tarfile.TarInfo, places: Mapping[str, int]) -> None:
    """Refuse what the manifest does not hold: another file, one twice, a link, a device."""
    entry = bundle.manifest.files.get(member.name)
    if entry is None or not member.isreg() or member.name in places:
        fix = "do not use it; make the bundle again"
        raise KitError(bundle.path.name, f"was changed: it holds {member.name[:80]!r}, its manifest does not", fix)
    if member.size != entry.size:
        raise changed(bundle, member.name)


def check_end(bundle: Bundle, end: int) -> None:
    """Refuse a bundle that ends early, or goes on after its end."""
    with bundle.path.open("rb") as file:
        file.seek(end)
        rest = file.read(END * 1024)
    if len(rest) < END:
        raise KitError(bundle.path.name, CUT, COPY_AGAIN)
    if rest.strip(b"\0"):
        raise KitError(bundle.path.name, "was changed: something follows its end", COPY_AGAIN)


def read_file(bundle: Bundle, name: str, places: Mapping[str, int]) -> Iterator[bytes]:
    """Hand over one file piece by piece; after the last, raise unless its sum is the manifest's."""
    entry = bundle.manifest.files[name]
    digest = hashlib.sha256()
    left = entry.size
    with bundle.path.open("rb") as file:
        file.seek(places[name])
        while left:
            piece = file.read(min(CHUNK, left))
            if not piece:
                raise KitError(bundle.path.name, CUT, COPY_AGAIN)
            left -= len(piece)
            digest.update(piece)
            yield piece
    if digest.hexdigest() != entry.sha256:
        raise changed(bundle, name)


def changed(bundle: Bundle, name: str) -> KitError:
    """Describe a file that is not what the manifest says."""
    return KitError(bundle.path.name, f"was changed: {name[:80]} is not what its manifest says", COPY_AGAIN)
