from __future__ import annotations

import base64
import hashlib
import hmac
import stat
from pathlib import Path

import pytest

from scripts.errors import KitError
from scripts.platforms import host_keys
from scripts.platforms.known_hosts import KnownHosts


def key(key_type: str, seed: str) -> str:
    """Return a key of a type: well-formed, and no real one."""
    name = key_type.encode()
    return f"{key_type} {base64.b64encode(len(name).to_bytes(4, 'big') + name + seed.encode() * 8).decode()}"


ED25519, ECDSA, RSA = key("ssh-ed25519", "a"), key("ecdsa-sha2-nistp256", "b"), key("ssh-rsa", "c")
NEW = key("ssh-ed25519", "n")


def hashed(name: str) -> str:
    salt = b"0123456789abcdefghij"
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


def read(tmp_path: Path, text: str) -> KnownHosts:
    path = tmp_path / "known_hosts"
    path.write_text(text)
    return KnownHosts.read(path)


def test_file_that_does_not_exist_pins_nothing(tmp_path: Path) -> None:
    pins = KnownHosts.read(tmp_path / "absent" / "known_hosts")

    assert (pins.keys("lumi.csc.fi"), pins.best("lumi.csc.fi"), pins.text()) == ([], "", "")


def test_best_key_is_ed25519_then_ecdsa_then_rsa(tmp_path: Path) -> None:
    pins = read(tmp_path, f"one {RSA}\none {ED25519}\none {ECDSA}\ntwo {RSA}\ntwo {ECDSA}\n")

    assert pins.keys("one") == [ED25519, ECDSA, RSA]
    assert (pins.best("one"), pins.best("two"), pins.best("three")) == (ED25519, ECDSA, "")


@pytest.mark.parametrize(
    ("line", "address", "port", "found"),
    [
        pytest.param(f"Lumi.csc.fi {RSA} a comment", "lumi.CSC.fi", 22, [RSA], id="letters of any size"),
        pytest.param(f"[lumi.csc.fi]:2222 {RSA}", "lumi.csc.fi", 2222, [RSA], id="another port"),
        pytest.param(f"[lumi.csc.fi]:2222 {RSA}", "lumi.csc.fi", 22, [], id="another port asked without"),
        pytest.param(f"lumi.csc.fi {RSA}", "lumi.csc.fi", 2222, [], id="port 22 asked with another"),
        pytest.param(f"a,lumi.csc.fi,b {RSA}", "lumi.csc.fi", 22, [RSA], id="one of several names"),
        pytest.param(f"{hashed('lumi.csc.fi')} {RSA}", "lumi.csc.fi", 22, [RSA], id="hashed name"),
        pytest.param(f"{hashed('lumi.csc.fi')} {RSA}", "mahti.csc.fi", 22, [], id="hashed name of another"),
        pytest.param(f"*.csc.fi {RSA}", "lumi.csc.fi", 22, [RSA], id="wildcard"),
        pytest.param(f"*.csc.fi,!lumi.csc.fi {RSA}", "lumi.csc.fi", 22, [], id="exception of a wildcard"),
        pytest.param(f"2001:db8::1 {RSA}", "2001:db8::1", 22, [RSA], id="address of version 6"),
        pytest.param(f"[2001:db8::1]:2222 {RSA}", "2001:db8::1", 2222, [RSA], id="version 6 and another port"),
        pytest.param(f"@cert-authority lumi.csc.fi {RSA}", "lumi.csc.fi", 22, [], id="an authority is no host key"),
        pytest.param("lumi.csc.fi 1024 35 123456789", "lumi.csc.fi", 22, [], id="key of SSH 1"),
        pytest.param(f"lumi.csc.fi {key('ssh-dss', 'd')}", "lumi.csc.fi", 22, [], id="kind nobody takes any more"),
    ],
)
def test_line_is_found_for_its_host(tmp_path: Path, line: str, address: str, port: int, found: list[str]) -> None:
    assert read(tmp_path, f"# pinned by hand\n\n{line}\r\n").keys(address, port) == found


def test_line_with_the_name_wins_over_a_wildcard(tmp_path: Path) -> None:
    pins = read(tmp_path, f"*.csc.fi {ED25519}\nlumi.csc.fi {NEW}\n")

    assert (pins.keys("lumi.csc.fi"), pins.keys("mahti.csc.fi")) == ([NEW], [ED25519])


def test_revoked_key_is_never_pinned(tmp_path: Path) -> None:
    pins = read(tmp_path, f"lumi {ED25519}\nlumi {RSA}\n@revoked * {ED25519}\n")

    assert (pins.keys("lumi"), pins.revoked("lumi")) == ([RSA], [ED25519])


def test_pin_replaces_one_host_and_keeps_every_other_byte(tmp_path: Path) -> None:
    kept = [
        "# by hand  \n",
        "\n",
        f"  other   {RSA}  a comment\r\n",
        f"[lumi]:2222 {RSA}\n",
        f"@revoked lumi {RSA}\n",
        f"@cert-authority *.csc.fi {RSA}\n",
        f"{hashed('other')} {RSA}\n",
        f"lum? {RSA}\n",
    ]
    pins = read(
        tmp_path, f"lumi {ED25519}\n{''.join(kept)}{hashed('lumi')} {ECDSA}\nalso,lumi {ECDSA} shared\nend {RSA}"
    )

    pins.pin("lumi", 22, [RSA, NEW])

    assert pins.text() == f"{''.join(kept)}also {ECDSA} shared\nend {RSA}\nlumi {NEW}\nlumi {RSA}\n"


def test_names_in_capitals_are_pinned_in_both_spellings(tmp_path: Path) -> None:
    pins = KnownHosts(path=tmp_path / "known_hosts")

    pins.pin("Lumi.CSC.fi", 2222, [RSA])

    assert pins.text() == f"[Lumi.CSC.fi]:2222,[lumi.csc.fi]:2222 {RSA}\n"


def test_write_makes_a_private_file_in_a_private_folder(tmp_path: Path) -> None:
    pins = KnownHosts(path=tmp_path / "secrets" / "known_hosts")
    pins.pin("lumi", 22, [ED25519])

    pins.write()

    modes = [stat.S_IMODE(path.stat().st_mode) for path in (pins.path.parent, pins.path)]
    assert (modes, [path.name for path in pins.path.parent.iterdir()]) == ([0o700, 0o600], ["known_hosts"])
    assert KnownHosts.read(pins.path).keys("lumi") == [ED25519]


def test_bytes_that_are_no_text_survive(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_bytes(b"# na\xefve\n" + f"lumi {RSA}\n".encode())
    pins = KnownHosts.read(path)

    pins.pin("other", 22, [ED25519])
    pins.write()

    assert path.read_bytes() == b"# na\xefve\n" + f"lumi {RSA}\nother {ED25519}\n".encode()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        pytest.param("lumi", "is not `host type key`", id="host alone"),
        pytest.param("lumi ssh-rsa", "is not `host type key`", id="no key"),
        pytest.param("lumi ssh-rsa sesame!", "has a key that is damaged or not of its type", id="no base64"),
        pytest.param(
            f"lumi ssh-rsa {ED25519.split()[1]}", "has a key that is damaged or not of its type", id="other type"
        ),
        pytest.param(f"|1|AAAA {RSA}", "has a hashed host name that is damaged", id="broken hash"),
        pytest.param(
            f"@mine lumi {RSA}", "starts with a marker that is neither @cert-authority nor @revoked", id="marker"
        ),
    ],
)
def test_broken_line_is_told_by_its_number(tmp_path: Path, line: str, problem: str) -> None:
    with pytest.raises(KitError) as caught:
        read(tmp_path, f"# ours\nfine {RSA}\n{line}\n")

    fix = "delete the line, then pin the host again with `make trust`."
    assert str(caught.value) == f"known_hosts line 3: {problem}; {fix}"


def test_all_broken_lines_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(KitError) as caught:
        read(tmp_path, "one\ntwo\n")

    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == [
        "known_hosts line 1",
        "known_hosts line 2",
    ]


def test_fingerprint_is_the_one_openssh_prints() -> None:
    # ssh-keygen -l of this public key.
    public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"

    assert host_keys.fingerprint(public) == "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"


@pytest.mark.parametrize(
    ("text", "read_as"),
    [
        ("SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU", "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"),
        (" sha256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU= ", "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"),
        ("+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU", ""),
        ("MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48", ""),
        ("SHA256:short", ""),
    ],
)
def test_fingerprint_is_read_as_people_copy_it(text: str, read_as: str) -> None:
    assert host_keys.read_fingerprint(text) == read_as


def test_every_published_fingerprint_is_one_and_has_a_source() -> None:
    lines = [line for line in host_keys.PUBLISHED.read_text().splitlines() if line and not line.startswith("#")]
    entries = [entry for line in lines for entry in host_keys.published(line.split(",")[0].split()[0])]

    assert len(lines) >= 3
    assert {entry.kind for entry in entries} <= {"ED25519", "ECDSA", "RSA"}
    assert [entry for entry in entries if host_keys.read_fingerprint(entry.fingerprint) != entry.fingerprint] == []
    assert [entry for entry in entries if not entry.source] == []


def test_login_nodes_of_lumi_publish_the_same_keys_as_the_pool() -> None:
    pool = host_keys.published("LUMI.csc.fi")

    assert [entry.kind for entry in pool] == ["ED25519", "ECDSA", "RSA"]
    assert [host_keys.published(f"lumi-uan0{number}.csc.fi") for number in range(1, 6)] == [pool] * 4 + [[]]
