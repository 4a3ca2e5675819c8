from __future__ import annotations

import base64
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.in_airflow import private_key
from scripts.in_airflow.private_key import KeyProblem, certificate_until, is_encrypted, open_key, written_phrase
from tests import ssh_key_support as kit

FORMS = {"openssh": kit.OPENSSH, "pkcs8": kit.PKCS8, "pem": kit.PEM}
GOOD = [
    pytest.param(kind, form, id=f"{kind}-{form}")
    for kind in ("ed25519", "ecdsa", "rsa")
    for form in FORMS
    if (kind, form) != ("ed25519", "pem")
]


def kind_of(data: bytes, phrase: str | None = None) -> str:
    with pytest.raises(KeyProblem) as caught:
        open_key(data, phrase)
    return caught.value.kind


@pytest.mark.parametrize(("kind", "form"), GOOD)
@pytest.mark.parametrize("phrase", [None, kit.PHRASE], ids=["open", "encrypted"])
def test_key_of_every_kind_comes_out_open(kind: str, form: str, phrase: str | None) -> None:
    key = kit.any_key(kind)
    data = kit.private(key, phrase, FORMS[form])

    opened = open_key(data, phrase)

    assert opened.startswith(b"-----BEGIN OPENSSH PRIVATE KEY-----\n")
    assert (is_encrypted(data), is_encrypted(opened)) == (phrase is not None, False)
    assert private_key.public_half(opened) == kit.half(key)


@pytest.mark.parametrize("form", FORMS)
def test_missing_and_wrong_phrase_are_told_apart(form: str) -> None:
    data = kit.private(kit.any_key("rsa"), kit.PHRASE, FORMS[form])

    kinds = [kind_of(data, None), kind_of(data, ""), kind_of(data, "wrong"), kind_of(data, "\ud800")]

    assert kinds == ["locked", "locked", "wrong-phrase", "wrong-phrase"]


@pytest.mark.parametrize("form", FORMS)
def test_phrase_that_is_not_needed_does_no_harm(form: str) -> None:
    opened = open_key(kit.private(kit.any_key("ecdsa"), None, FORMS[form]), "of no use")

    assert private_key.public_half(opened) == kit.half(kit.any_key("ecdsa"))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda data: data.replace(b"\n", b"\r\n"), id="windows-lines"),
        pytest.param(lambda data: b"\xef\xbb\xbf" + data, id="byte-order-mark"),
        pytest.param(lambda data: data.strip(), id="no-last-line-end"),
        pytest.param(lambda data: b"a note\n\n" + data + b"another\n", id="text-around"),
    ],
)
def test_key_that_an_editor_has_touched_still_opens(change: Any) -> None:
    key = kit.any_key("ed25519")

    halves = [
        private_key.public_half(open_key(change(kit.private(key, phrase)), phrase)) for phrase in (None, kit.PHRASE)
    ]

    assert halves == [kit.half(key)] * 2


HARDWARE = base64.encodebytes(
    b"openssh-key-v1\0"
    + b"".join(len(text).to_bytes(4, "big") + text for text in (b"none", b"none", b""))
    + b"\0\0\0\1\0\0\0\x1e\0\0\0\x1ask-ssh-ed25519@openssh.com"
)
NO_KEYS = {
    "public": (lambda: kit.public(kit.any_key("ed25519")), "public"),
    "public-pem": (lambda: b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "public"),
    "public-hardware": (lambda: b"sk-ssh-ed25519@openssh.com AAAA me", "public"),
    "certificate": (lambda: kit.certificate(kit.any_key("rsa")), "public"),
    "putty": (lambda: b"PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n", "putty"),
    "dsa": (lambda: kit.private(kit.any_key("dsa"), form=kit.PEM), "unsupported"),
    "dsa-pkcs8": (lambda: kit.private(kit.any_key("dsa"), form=kit.PKCS8), "unsupported"),
    "curve": (lambda: kit.private(kit.any_key("secp256k1"), form=kit.PEM), "unsupported"),
    "hardware": (
        lambda: b"-----BEGIN OPENSSH PRIVATE KEY-----\n" + HARDWARE + b"-----END OPENSSH PRIVATE KEY-----\n",
        "unsupported",
    ),
    "empty": (lambda: b"", "not-a-key"),
    "text": (lambda: b"ssh keys are elsewhere", "not-a-key"),
    "half": (lambda: kit.private(kit.any_key("rsa"))[:900], "not-a-key"),
    "hollow": (lambda: b"-----BEGIN OPENSSH PRIVATE KEY-----\n-----END OPENSSH PRIVATE KEY-----", "not-a-key"),
    "hollow-pem": (lambda: b"-----BEGIN RSA PRIVATE KEY-----\n-----END RSA PRIVATE KEY-----", "not-a-key"),
    "two-bytes-a-sign": (lambda: kit.private(kit.any_key("rsa")).decode().encode("utf-16"), "not-a-key"),
}


@pytest.mark.parametrize("name", NO_KEYS)
def test_what_is_no_usable_key_is_called_by_its_name(name: str) -> None:
    make, expected = NO_KEYS[name]

    assert kind_of(make(), "a phrase") == expected


def test_odd_bytes_never_end_in_a_traceback() -> None:
    chance = random.Random(3)
    seeds = [kit.private(kit.any_key("ed25519")), kit.private(kit.any_key("rsa"), form=kit.PEM)]
    seeds += [kit.private(kit.any_key("ecdsa"), kit.PHRASE, form) for form in FORMS.values()]
    seeds += [kit.certificate(kit.any_key("ed25519"))]
    asked = 0

    for data in seeds * 40:
        broken = bytearray(data)
        for _ in range(chance.randint(1, 6)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        for ask in (lambda data: open_key(data, None), certificate_until, is_encrypted, private_key.public_half):
            try:
                ask(bytes(broken[: chance.randint(1, 2 * len(broken))]))
            except KeyProblem:
                asked += 1

    assert asked > 500


def test_certificate_tells_when_it_ends() -> None:
    key = kit.any_key("ecdsa")

    ends = [certificate_until(kit.certificate(key, until=1_900_000_000)), certificate_until(kit.certificate(key))]

    assert ends == [1_900_000_000.0, None]


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: kit.certificate(kit.any_key("rsa"), for_hosts=True), id="for-hosts"),
        pytest.param(lambda: kit.certificate(kit.any_key("rsa"))[:200], id="half"),
        pytest.param(lambda: kit.public(kit.any_key("rsa")), id="public-key"),
        pytest.param(lambda: b"", id="empty"),
    ],
)
def test_what_is_no_certificate_is_refused(make: Any) -> None:
    with pytest.raises(KeyProblem) as caught:
        certificate_until(make())

    assert caught.value.kind == "not-a-certificate"


@pytest.mark.parametrize(
    ("written", "phrase"),
    [
        ("phrase: 0123", "0123"),
        ("phrase: yes", "yes"),
        ("phrase: 'a b # c'", "a b # c"),
        ("phrase: 1e3", "1e3"),
        ("phrase: $${x}", "${x}"),
        ("phrase: 'null'", "null"),
        ("phrase: null", None),
        ("phrase: empty", None),
        ("phrase: a${NAME}", None),
        ("phrase:", None),
        ("phrase: [a]", None),
        ("phrase_file: x", None),
    ],
)
def test_phrase_is_read_as_it_is_written(written: str, phrase: str | None) -> None:
    text = f"connections:\n  ssh:\n    hpc: {{path: /run/secrets/hpc-key}}\n    other:\n      {written}\n".encode()

    assert written_phrase(text, "other", "other") == phrase


def test_key_of_the_same_name_is_told_by_its_path() -> None:
    text = b"connections: {ssh: {k: {path: /run/secrets/a, phrase: 1}}, sftp: {k: {path: /run/secrets/b, phrase: 2}}}"

    assert [written_phrase(text, "k", target) for target in ("a", "b", "k")] == ["1", "2", None]


@pytest.mark.parametrize("text", [b"\xff\xfe", b"a: [", b"- x", b"", b"[" * 5000, b"connections: {ssh: [k]}"])
def test_odd_secrets_file_knows_no_phrase(text: bytes) -> None:
    assert written_phrase(text, "k", "k") is None


def run_child(request: dict[str, Any]) -> tuple[dict[str, Any], str]:
    argv = [sys.executable, "-I", private_key.__file__]
    done = subprocess.run(argv, input=json.dumps(request), capture_output=True, text=True, check=True)
    return json.loads(done.stdout), done.stderr


def test_child_opens_the_key_and_judges_its_certificate(tmp_path: Path) -> None:
    key, until = kit.new_key(), kit.in_hours(8)
    phrases = kit.put(tmp_path / "phrase", kit.PHRASE.encode() + b"\n")
    request = {
        "key": base64.b64encode(kit.private(key, kit.PHRASE)).decode(),
        "certificate": base64.b64encode(kit.certificate(key, until=until)).decode(),
        "phrase": "an old one",
        "phrase_file": str(phrases),
    }

    found, errors = run_child(request)
    opened = base64.b64decode(found.pop("key"))

    assert (found, errors) == ({"state": "ready", "same": False, "certificate": "valid", "until": until}, "")
    assert (private_key.public_half(opened), is_encrypted(opened)) == (kit.half(key), False)


def test_child_recognises_the_locked_key_that_it_has_opened_before() -> None:
    key, other = kit.new_key(), kit.new_key()
    request = {"key": base64.b64encode(kit.private(key, kit.PHRASE)).decode()}
    copies = [base64.b64encode(kit.private(one)).decode() for one in (key, other)]

    found, _ = run_child({**request, "previous": copies[0]})
    other_found, _ = run_child({**request, "previous": copies[1]})

    assert found == {"state": "ready", "key": copies[0], "same": True, "certificate": "none", "until": None}
    assert other_found == {"state": "locked"}
