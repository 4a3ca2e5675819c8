from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scripts.commands import trust
from scripts.commands.trust import Trusting
from scripts.errors import KitError
from scripts.platforms import host_keys, ssh_files
from scripts.platforms.host_key_verdict import Verdict, judge
from scripts.platforms.host_keys import Published, fingerprint
from scripts.platforms.known_hosts import KnownHosts
from scripts.platforms.plan import Plan, SshPlatform


def key(key_type: str, seed: str) -> str:
    """Return a key of a type: well-formed, and no real one."""
    name = key_type.encode()
    return f"{key_type} {base64.b64encode(len(name).to_bytes(4, 'big') + name + seed.encode() * 8).decode()}"


ED25519, ECDSA, RSA = key("ssh-ed25519", "a"), key("ecdsa-sha2-nistp256", "b"), key("ssh-rsa", "c")
NEW, NEW_RSA = key("ssh-ed25519", "n"), key("ssh-rsa", "m")
GUIDE = Published("ED25519", fingerprint(ED25519), "the guide")
LUMI = SshPlatform(
    id="hpc-lumi",
    address="login.example.org",
    port=22,
    user="maija",
    key="site",
    password=None,
    jump="",
    host_key="",
    check_host_key=True,
    scheduler="",
    scratch="",
    line=7,
)


class RecordedStack:
    """Answers what machines answered once, and remembers what it was asked."""

    ssh_home = ssh_files.HOME

    def __init__(self, answers: dict[str, dict[str, list[str]] | str]) -> None:
        self.answers = answers
        self.asked: list[list[str]] = []

    def run_script(self, name: str, request: Any, *, place: str) -> dict[str, Any]:
        assert (name, place) == ("scan_host_keys", "tasks")
        self.asked.append([host["id"] for host in request["hosts"]])
        return {host["id"]: self.answer(host["id"]) for host in request["hosts"]}

    def answer(self, platform_id: str) -> dict[str, Any]:
        recorded = self.answers[platform_id]
        if isinstance(recorded, str):
            return {"addresses": {}, "silent": {"192.0.2.1": recorded}, "error": recorded}
        return {"addresses": recorded, "silent": {}, "error": ""}


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone's own files, elsewhere."""
    monkeypatch.setattr(ssh_files, "FOLDER", tmp_path / "ssh")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    return tmp_path


def working(
    state: Path, answers: dict[str, Any], *platforms: SshPlatform, trusted: tuple[str, ...] = (), pinned: str = ""
) -> Trusting:
    path = state / "secrets" / "known_hosts"
    path.parent.mkdir()
    path.write_text(pinned)
    connections: dict[str, dict[str, Any] | str] = {
        each.id: {"extra": {"key_file": "/run/secrets/site"}} for each in platforms
    }
    plan = Plan(connections, {}, {}, platforms, (), (), ())
    return Trusting(RecordedStack(answers), plan, KnownHosts.read(path), list(trusted))  # type: ignore[arg-type]


def files(state: Path) -> tuple[str, str]:
    """Return what is pinned, and what tasks see of it."""
    seen = (state / "ssh" / "known_hosts").read_text().partition("\n")[2]
    return (state / "secrets" / "known_hosts").read_text(), seen


def test_published_key_is_taken_and_no_other() -> None:
    shown = {"192.0.2.1": [RSA, ED25519], "192.0.2.2": [ED25519, RSA]}

    assert judge(shown, [], [GUIDE]) == Verdict("pin", (ED25519,), "published in: the guide")


def test_unknown_key_is_asked_about_best_first() -> None:
    assert judge({"192.0.2.1": [RSA, ECDSA, ED25519]}, [], []) == Verdict("ask", (ED25519, ECDSA, RSA))


def test_key_that_differs_from_the_published_one_is_refused() -> None:
    verdict = judge({"192.0.2.1": [NEW, RSA]}, [], [GUIDE], again="make trust PLATFORM=x")

    fix = f"ask the site; if the key is right, `make trust PLATFORM=x TRUST={fingerprint(NEW)}` accepts it"
    assert verdict == Verdict("refused", (), "shows another ED25519 key than the guide lists", fix)


def test_addresses_with_different_keys_of_a_type_are_refused_even_with_trust() -> None:
    shown = {"192.0.2.1": [ED25519, RSA], "192.0.2.2": [NEW, NEW_RSA]}

    verdicts = [judge(shown, [], [GUIDE]), judge(shown, [], [], trusted=[fingerprint(ED25519)])]

    reason = "its addresses show different ED25519 and RSA keys, and tasks know only one of them"
    fix = "write the name of a single node as `address` in secrets.yaml"
    assert verdicts == [Verdict("refused", (), reason, fix)] * 2


def test_kind_that_only_some_addresses_show_is_left_out() -> None:
    shown = {"192.0.2.1": [ED25519, RSA], "192.0.2.2": [RSA]}

    assert judge(shown, [], []) == Verdict("ask", (RSA,))


def test_addresses_without_a_kind_in_common_are_refused() -> None:
    verdict = judge({"192.0.2.1": [ED25519], "192.0.2.2": [RSA]}, [], [])

    assert (verdict.outcome, verdict.reason) == ("refused", "its addresses have no kind of key in common")


def test_revoked_key_is_refused_whatever_vouches_for_it() -> None:
    verdict = judge({"192.0.2.1": [ED25519]}, [], [GUIDE], revoked=[ED25519], trusted=[fingerprint(ED25519)])

    assert (verdict.outcome, verdict.reason) == ("refused", "shows a key that secrets/known_hosts marks as @revoked")


def test_trust_takes_the_keys_it_names_and_no_other() -> None:
    shown = {"192.0.2.1": [ED25519, RSA]}

    assert judge(shown, [], [], trusted=[fingerprint(RSA)]) == Verdict("pin", (RSA,), "given by TRUST")
    assert judge(shown, [NEW], [], trusted=[fingerprint(ED25519)]) == Verdict("pin", (ED25519,), "given by TRUST")
    assert judge(shown, [ED25519, RSA], [], trusted=[fingerprint(RSA)]) == Verdict("kept", (ED25519, RSA))
    assert judge(shown, [], [], trusted=[fingerprint(NEW)]).outcome == "refused"


def test_pinned_key_that_is_shown_again_is_kept() -> None:
    assert judge({"192.0.2.1": [ED25519, RSA]}, [ED25519], []) == Verdict("kept", (ED25519,))


def test_pin_of_a_kind_no_longer_shown_is_dropped() -> None:
    verdict = judge({"192.0.2.1": [RSA]}, [ED25519, RSA], [])

    assert (verdict.outcome, verdict.keys) == ("pin", (RSA,))


@pytest.mark.parametrize(
    ("shown", "pinned", "old", "new"),
    [
        pytest.param([NEW, RSA], [ED25519, RSA], [ED25519], [NEW, RSA], id="one kind changed"),
        pytest.param([NEW], [RSA], [RSA], [NEW], id="only another kind"),
    ],
)
def test_changed_key_is_refused_with_both_fingerprints(
    shown: list[str], pinned: list[str], old: list[str], new: list[str]
) -> None:
    verdict = judge({"192.0.2.1": shown}, pinned, [], again="make trust PLATFORM=x")

    told = [", ".join(f"{host_keys.kind(each)} {fingerprint(each)}" for each in keys) for keys in (old, new)]
    assert verdict == Verdict(
        "refused",
        (),
        f"shows another key than the pinned one: {told[0]} was pinned, now it shows {told[1]}. "
        "Either it was installed anew, or somebody sits in between and would read along",
        f"ask the site; if the new key is right, `make trust PLATFORM=x TRUST={fingerprint(new[0])}` accepts it",
    )


def test_changed_key_that_is_published_still_needs_a_person() -> None:
    verdict = judge({"192.0.2.1": [ED25519]}, [NEW], [GUIDE])

    assert (verdict.outcome, "; the guide lists the new one." in verdict.reason) == ("refused", True)


def test_published_key_is_pinned_and_tasks_see_it(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    published = state / "published.txt"
    published.write_text(f"login.example.org ED25519 {fingerprint(ED25519)}  # the guide\n")
    monkeypatch.setattr(host_keys, "PUBLISHED", published)
    work = working(state, {"hpc-lumi": {"192.0.2.1": [ED25519, RSA]}}, LUMI)

    trust.trust(work, [LUMI])

    assert (work.pinned, work.problems) == (1, 0)
    assert files(state) == (f"login.example.org {ED25519}\n",) * 2
    assert capsys.readouterr().out.splitlines()[-1] == "hpc-lumi: pinned ED25519 (published in: the guide)"


def test_unknown_key_without_a_terminal_names_the_command(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work = working(state, {"hpc-lumi": {"192.0.2.1": [RSA, ED25519]}}, LUMI)

    trust.trust(work, [LUMI])

    told = capsys.readouterr()
    command = f"make trust PLATFORM=hpc-lumi TRUST={fingerprint(ED25519)}"
    assert (work.pinned, work.problems, files(state)) == (0, 1, ("", ""))
    assert told.out.splitlines() == [
        "PLATFORM  ADDRESS    TYPE     FINGERPRINT",
        f"hpc-lumi  192.0.2.1  ED25519  {fingerprint(ED25519)}",
        f"hpc-lumi  192.0.2.1  RSA      {fingerprint(RSA)}",
        "",
    ]
    assert told.err.splitlines()[-1] == f"hpc-lumi: is not known yet; compare the fingerprint, then run `{command}`."


@pytest.mark.parametrize(("said", "pinned"), [("y\n", 1), ("YES\n", 1), ("n\n", 0), ("\n", 0), ("", 0)])
def test_person_at_the_terminal_decides(state: Path, monkeypatch: pytest.MonkeyPatch, said: str, pinned: int) -> None:
    terminal = io.StringIO(said)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    work = working(state, {"hpc-lumi": {"192.0.2.1": [ED25519, RSA]}}, LUMI)

    trust.trust(work, [LUMI])

    expected = f"login.example.org {ED25519}\nlogin.example.org {RSA}\n" if pinned else ""
    assert (work.pinned, work.problems, files(state)) == (pinned, 1 - pinned, (expected, expected))


def test_given_fingerprint_accepts_a_changed_key(state: Path) -> None:
    pinned = f"# ours\nlogin.example.org {ED25519}\n"
    answers = {"hpc-lumi": {"192.0.2.1": [NEW]}}

    work = working(state, answers, LUMI, pinned=pinned, trusted=(fingerprint(NEW),))
    trust.trust(work, [LUMI])

    assert (work.pinned, files(state)) == (1, (f"# ours\nlogin.example.org {NEW}\n",) * 2)


def test_changed_key_leaves_the_pin_as_it_was(state: Path) -> None:
    pinned = f"login.example.org {ED25519}\n"
    work = working(state, {"hpc-lumi": {"192.0.2.1": [NEW]}}, LUMI, pinned=pinned)

    trust.trust(work, [LUMI])

    assert (work.pinned, work.problems, files(state)) == (0, 1, (pinned, pinned))


def test_jump_host_is_pinned_before_it_is_passed(state: Path) -> None:
    gate = replace(LUMI, id="gate", address="gate.example.org")
    inner = replace(LUMI, id="inner", address="10.0.0.9", jump="gate")
    fingerprints = (fingerprint(ED25519), fingerprint(RSA))
    work = working(
        state, {"inner": {"10.0.0.9": [RSA]}, "gate": {"192.0.2.1": [ED25519]}}, inner, gate, trusted=fingerprints
    )

    trust.trust(work, [inner, gate])

    assert work.stack.asked == [["gate"], ["inner"]]  # type: ignore[attr-defined]
    assert files(state)[1] == f"gate.example.org {ED25519}\n10.0.0.9 {RSA}\n"


def test_one_machine_that_does_not_answer_holds_up_no_other(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = replace(LUMI, id="other", address="other.example.org")
    answers: dict[str, Any] = {"hpc-lumi": "no answer in time", "other": {"192.0.2.2": [ED25519]}}
    work = working(state, answers, LUMI, other, trusted=(fingerprint(ED25519),))

    trust.trust(work, [LUMI, other])

    assert (work.pinned, work.problems) == (1, 1)
    assert capsys.readouterr().err.splitlines()[-1] == (
        "hpc-lumi: no answer in time; "
        "check its `address` and `port` in secrets.yaml, and whether this network may reach it."
    )


def test_answer_that_is_no_key_is_not_believed(state: Path) -> None:
    odd = ["ssh-ed25519 AAAA\nevil.example.org ssh-rsa AAAA", "ssh-ed25519", "", "ssh-dss AAAA", "ssh-rsa =x="]
    work = working(state, {"hpc-lumi": {"192.0.2.1": odd}}, LUMI)

    trust.trust(work, [LUMI])

    assert (work.pinned, work.problems, files(state)) == (0, 1, ("", ""))


def test_without_a_name_all_that_are_not_pinned_are_chosen() -> None:
    pins = KnownHosts()
    pins.pin("pinned.example.org", 22, [ED25519])
    platforms = (
        LUMI,
        replace(LUMI, id="pinned", address="pinned.example.org"),
        replace(LUMI, id="other-port", address="pinned.example.org", port=2222),
        replace(LUMI, id="stated", host_key=ED25519),
        replace(LUMI, id="unchecked", check_host_key=False),
    )

    chosen = trust.choose(Plan({}, {}, {}, platforms, (), (), ()), "", pins)

    assert [platform.id for platform in chosen] == ["hpc-lumi", "other-port"]


def test_key_stated_in_the_file_leaves_nothing_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    plan = Plan({}, {}, {}, (replace(LUMI, host_key=ED25519),), (), (), ())

    assert trust.choose(plan, "hpc-lumi", KnownHosts()) == []
    assert capsys.readouterr().out == "hpc-lumi: secrets.yaml states its host key itself; nothing to do\n"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("hpc-lumm", "PLATFORM: is no ssh platform of secrets.yaml; did you mean hpc-lumi?."),
        ("x", "PLATFORM: is no ssh platform of secrets.yaml; name one of type ssh or sftp."),
        (
            "unchecked",
            "unchecked: is not checked, so nothing would look at the pinned key; "
            "delete `check_host_key: false` in secrets.yaml first.",
        ),
    ],
)
def test_name_that_cannot_be_trusted_is_told(name: str, told: str) -> None:
    platforms = (LUMI, replace(LUMI, id="unchecked", check_host_key=False))

    with pytest.raises(KitError) as caught:
        trust.choose(Plan({}, {}, {}, platforms, (), (), ()), name, KnownHosts())

    assert str(caught.value) == told


@pytest.mark.parametrize(
    ("text", "platform", "told"),
    [
        ("yes", "hpc-lumi", "TRUST: is not the fingerprint of a host key; "),
        (f"{fingerprint(ED25519)},no", "hpc-lumi", "TRUST: is not the fingerprint of a host key; "),
        (fingerprint(ED25519), "", "TRUST: needs to know for which platform; "),
    ],
)
def test_trust_that_means_nothing_is_refused(text: str, platform: str, told: str) -> None:
    with pytest.raises(KitError) as caught:
        trust.read_trust(text, platform)

    assert str(caught.value).startswith(told)


def test_several_fingerprints_may_be_given() -> None:
    given = f"{fingerprint(ED25519)}, {fingerprint(RSA).replace('SHA256', 'sha256')}"

    assert trust.read_trust(given, "hpc-lumi") == [fingerprint(ED25519), fingerprint(RSA)]
