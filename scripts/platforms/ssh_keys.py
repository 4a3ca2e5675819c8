"""Where does an SSH key or a token lie on this machine, under which name do tasks find it, and what opens it?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from scripts.errors import KitError
from scripts.platforms.credentials import SshKey
from scripts.platforms.fields import SECRETS_FOLDER, is_key_target
from scripts.platforms.findings import Findings, shown
from scripts.platforms.plan import Key, Phrase
from scripts.platforms.values import Resolved, Unusable, find_file
from scripts.platforms.yaml_reader import Place

NO_PHRASE = "empty"  # as a phrase it says that the key has none


def build_key(
    credential: SshKey, place: Place, secrets: Mapping[str, Resolved], findings: Findings, *, folder: Path
) -> Key | None:
    """Return the key that a credential describes; note what is wrong with it."""
    name = str(place[-1])
    target = credential.path.removeprefix(SECRETS_FOLDER) or name
    if not is_key_target(target):
        fix = f"add `path: {SECRETS_FOLDER}<name>`, the name without .pub"
        findings.add(place, "has a name that no key file can have", fix)
    file = key_file(credential, place, findings, folder)
    if findings.touches(place):
        return None
    return Key(name, target, file, phrase_of(secrets.get("phrase")), findings.document.line(place))


def build_token(place: Place, found: Resolved, findings: Findings) -> Key | None:
    """Return the file that holds a token, which is followed as a key is; note what is wrong with it."""
    name = str(place[-1])
    if not is_key_target(name):
        findings.add(place, "has a name that no file of a token can have", "rename it, without .pub")
    if findings.touches(place):
        return None
    return Key(name, name, found.file, Phrase("none"), findings.document.line(place), "token")


def key_file(credential: SshKey, place: Place, findings: Findings, folder: Path) -> Path | None:
    """Return the key file that is named, or the one at a usual place; warn where there is none."""
    if credential.file:
        try:
            path = find_file(credential.file, folder)
            if not path.is_file():
                raise Unusable("names a file that does not exist", "correct the path, or copy the key there")
        except (OSError, ValueError):
            findings.add((*place, "file"), "names a file that you cannot reach", "correct its owner or its mode")
        except Unusable as error:
            findings.add((*place, "file"), error.problem, error.fix)
        else:
            return path
        return None
    found = next((path for path in usual_places(credential, str(place[-1])) if is_file(path)), None)
    if found is None:
        mend = "add `file`, where the private key lies on this machine"
        problem = f"{shown(place)} names no file, and ~/.ssh has none of its name"
        findings.warnings.append(str(KitError(findings.where(place), problem, mend)))
    return found


def usual_places(credential: SshKey, name: str) -> list[Path]:
    """Return where a key without `file` is looked for."""
    try:
        folder = Path.home() / ".ssh"
    except RuntimeError:
        return []
    names = [name, f"{name}.pem", credential.path.removeprefix(SECRETS_FOLDER)]
    return [folder / each for each in names if each]


def is_file(path: Path) -> bool:
    """Say whether a file is there and can be reached."""
    try:
        return path.is_file()
    except OSError:
        return False


def phrase_of(found: Resolved | None) -> Phrase:
    """Return how the key is opened."""
    if found is None:
        return Phrase("none")
    if found.source == "literal" and found.value is not None and found.value.get_secret_value() == NO_PHRASE:
        return Phrase("none")
    return Phrase(found.source, found.value, found.file)
