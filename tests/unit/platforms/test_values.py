from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from pydantic import SecretStr

from scripts.platforms import secrets_file
from scripts.platforms.plan import Key, Phrase
from tests.secrets_file_support import LOGIN, MINE, Load, Told, load_text, told_of
from tests.ssh_key_support import PHRASE, new_key, private, put


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("NO_SUCH_NAME", raising=False)
    return tmp_path / "home"


@pytest.fixture
def load(tmp_path: Path) -> Load:
    return partial(load_text, tmp_path)


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return partial(told_of, tmp_path)


@pytest.mark.parametrize(
    ("credentials", "sentence"),
    [
        ("path: /run/secrets/a/b, phrase: empty",
         "connections.ssh.mine.path is not usable; write /run/secrets/<name>, the key as the container has it."),
        ("path: /run/secrets/.., phrase: empty",
         "connections.ssh.mine.path is not usable; write /run/secrets/<name>, the key as the container has it."),
        ("phrase: ", "connections.ssh.mine.phrase is empty; write a value, or delete the line."),
        ("phrase: ''", "connections.ssh.mine.phrase is not usable: its value is empty; put the secret there."),
        ("phrase: a, phrase_file: b",
         "connections.ssh.mine gives phrase and phrase_file; write one of phrase, phrase_file, phrase_command."),
        ("phrase: a, password: b", "connections.ssh.mine gives both phrase and password; delete one of them."),
        ("password: a, file: key",
         "connections.ssh.mine gives both a password and a key; delete one: a server must not be offered both."),
        ("phrase: empty, file: no-such-key", "connections.ssh.mine.file names a file that does not exist; "
         "correct the path, or copy the key there."),
        ("phrase_file: no-such-file",
         "connections.ssh.mine.phrase_file names a file that does not exist; correct the path, or make the file."),
        ("phrase_file: .", "connections.ssh.mine.phrase_file names no file; name a file."),
        ("phrase_file: empty-file",
         "connections.ssh.mine.phrase_file names an empty file; put into it what it is for."),
        ("phrase_file: blank-file",
         "connections.ssh.mine.phrase_file is not usable: its file is empty; put the secret there."),
        ("phrase_file: bytes-file",
         "connections.ssh.mine.phrase_file names a file that is not UTF-8 text; name the right file."),
        ("phrase_file: ~no-such-user/x",
         "connections.ssh.mine.phrase_file begins with a ~ that stands for no user's home; write the whole path."),
        ("phrase_command: sh -c 'echo hunter2; echo hunter2 >&2; exit 3'",
         "connections.ssh.mine.phrase_command ended with exit code 3; run it by hand to see why."),
        ("phrase_command: no-such-program hunter2",
         "connections.ssh.mine.phrase_command names a program that is not on PATH; install it, or write its path."),
        ("phrase_command: ./empty-file",
         "connections.ssh.mine.phrase_command names a program that cannot be started; correct the command."),
        ("phrase_command: 'true'",
         "connections.ssh.mine.phrase_command is not usable: what its command printed is empty; put the secret there."),
        ("phrase_command: printf '\\377'",
         "connections.ssh.mine.phrase_command is not usable: what its command printed is not text; "
         "put the secret there."),
        ("phrase_command: pass 'hunter2",
         "connections.ssh.mine.phrase_command has a quote that is not closed; write it as you would in a shell."),
        ("phrase_command: echo '(fill)'",
         "connections.ssh.mine.phrase_command is not filled in; write your own value, or delete what you do not use."),
        ("phrase: ${NO_SUCH_NAME}", "connections.ssh.mine.phrase names ${NO_SUCH_NAME} that is not in the environment; "
         "export it, or write $${ for a literal ${."),
        ("phrase: hunter${two}", "connections.ssh.mine.phrase names a ${NAME} that is not in the environment; "
         "export it, or write $${ for a literal ${."),
        ("phrase: hunter${2", "connections.ssh.mine.phrase has a ${ that begins no ${NAME}; "
         "write $${ where ${ itself is meant."),
        ("phrase: REPLACE-ME",
         "connections.ssh.mine.phrase is not filled in; write your own value, or delete what you do not use."),
        ("phrase: <passphrase>",
         "connections.ssh.mine.phrase is not filled in; write your own value, or delete what you do not use."),
    ],
)  # fmt: skip
def test_wrong_credentials_are_told_in_one_sentence(
    told: Told, tmp_path: Path, credentials: str, sentence: str
) -> None:
    for name, content in {"empty-file": b"", "blank-file": b"\n", "bytes-file": b"\xff", "key": b"x"}.items():
        (tmp_path / name).write_bytes(content)
    text = "connections:\n  ssh:\n    mine:\n" + "".join(f"      {pair}\n" for pair in credentials.split(", "))

    message = told(text)

    assert message.split(": ", 1)[1] == sentence
    assert message.startswith("secrets.yaml line ")


def test_command_without_an_answer_is_told(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.platforms.values.COMMAND_SECONDS", 0.2)

    assert told("connections: {ssh: {mine: {phrase_command: sleep 60}}}\n") == (
        "secrets.yaml line 1: connections.ssh.mine.phrase_command gave no answer within 0.2 s; "
        "unlock what it asks, then try again."
    )


@pytest.mark.parametrize(
    ("words", "found"),
    [
        pytest.param("phrase: empty", Phrase("none"), id="none"),
        pytest.param("phrase: 0123", Phrase("literal", SecretStr("0123")), id="literal"),
        pytest.param("phrase: a$${b}", Phrase("literal", SecretStr("a${b}")), id="literal with ${"),
        pytest.param("phrase: x-${PHRASE}", Phrase("environment", SecretStr("x-hunter2")), id="environment"),
        pytest.param("phrase_command: printf 'a b\\n\\n'", Phrase("command", SecretStr("a b\n")), id="command"),
    ],
)
def test_phrase_is_found_where_the_file_says(
    load: Load, monkeypatch: pytest.MonkeyPatch, words: str, found: Phrase
) -> None:
    monkeypatch.setenv("PHRASE", "hunter2")

    assert load(f"connections:\n  ssh:\n    mine:\n      {words}\n").keys == (Key("mine", "mine", None, found, 3),)


def test_phrase_in_a_file_beside_it_is_found(load: Load, tmp_path: Path) -> None:
    (tmp_path / "phrase").write_text("hunter2\r\n", encoding="utf-8", newline="")

    assert load("connections: {ssh: {mine: {phrase_file: phrase}}}").keys[0].phrase == Phrase(
        "file", SecretStr("hunter2"), tmp_path / "phrase"
    )


def test_commands_stay_unasked_where_that_is_wanted(load: Load, tmp_path: Path) -> None:
    text = "connections: {ssh: {mine: {phrase_command: touch asked}}}"

    assert load(text, ask=False).keys == (Key("mine", "mine", None, Phrase("command"), 1),)
    assert not (tmp_path / "asked").exists()


def test_named_key_file_is_taken_from_beside_the_file(load: Load, tmp_path: Path) -> None:
    put(tmp_path / "key", private(new_key(), PHRASE))

    plan = load(f"connections: {{ssh: {{mine: {{file: key, phrase: {PHRASE}}}}}}}")

    assert (plan.keys[0].file, plan.warnings) == (tmp_path / "key", ())


def test_key_that_its_phrase_does_not_open_is_told(told: Told, tmp_path: Path) -> None:
    put(tmp_path / "key", private(new_key(), PHRASE))

    message = told("pools: {a: 0}\nconnections:\n  ssh:\n    mine: {file: key, phrase: hunter2}\n")

    assert [line.split(":")[0] for line in message.splitlines()] == ["secrets.yaml line 1", "secrets.yaml line 4"]


@pytest.mark.parametrize("name", ["mine", "mine.pem", "other"])
def test_key_without_file_is_looked_for_in_the_home(load: Load, home: Path, name: str) -> None:
    (home / ".ssh").mkdir(parents=True)
    put(home / ".ssh" / name, private(new_key()))

    plan = load("connections: {ssh: {mine: {path: /run/secrets/other, phrase: empty}}}")

    assert [(key.target, key.file) for key in plan.keys] == [("other", home / ".ssh" / name)]


def test_key_that_is_nowhere_is_a_warning(load: Load) -> None:
    assert load("connections:\n  ssh: {mine: {phrase: empty}}").warnings == (
        "secrets.yaml line 2: connections.ssh.mine names no file, and ~/.ssh has none of its name; "
        "add `file`, where the private key lies on this machine.",
    )


def test_names_are_replaced_everywhere_but_in_what_the_platform_runs(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHO", "ada")
    monkeypatch.setenv("PORT", "2222")
    more = ", port: '${PORT}', scratch: '/scratch/${WHO}', preamble: 'echo ${WHO}', environment: {A: '$${WHO}'}"
    text = (LOGIN % more).replace("user: ada", "user: '${WHO}'") + MINE % "" + "variables: {a: [{b: 'x${WHO}'}, 1]}"

    plan = load(text)

    assert (plan.ssh[0].user, plan.ssh[0].port, plan.ssh[0].scratch) == ("ada", 2222, "/scratch/${WHO}")
    connection = plan.connections["hpc-lumi"]
    assert isinstance(connection, dict)
    assert connection["extra"]["windrose"] == {
        "scratch": "/scratch/${WHO}",
        "preamble": "echo ${WHO}",
        "environment": {"A": "$${WHO}"},
    }
    assert plan.variables["a"] == [{"b": "xada"}, 1]


def test_name_whose_value_is_no_text_is_told(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHRASE", "hunter\udcff")

    assert told("connections: {ssh: {mine: {phrase: '${PHRASE}'}}}") == (
        "secrets.yaml line 1: connections.ssh.mine.phrase names ${PHRASE} whose value is not UTF-8 text; "
        "export it as UTF-8."
    )


def test_command_is_asked_once_for_all_platforms_of_a_key(load: Load, tmp_path: Path) -> None:
    platforms = "".join(f"    p{n}: {{type: ssh, address: p{n}, user: u, key: mine}}\n" for n in range(3))
    command = "sh -c 'echo asked >>log; echo hunter2'"

    load(f"platforms:\n  hpc:\n{platforms}connections:\n  ssh:\n    mine:\n      password_command: {command}\n")

    assert (tmp_path / "log").read_text(encoding="utf-8") == "asked\n"


def test_a_plan_that_is_only_looked_at_asks_neither_commands_nor_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "secrets.yaml"
    path.write_text(
        "platforms:\n  hpc:\n    lumi: {address: lumi.csc.fi, user: me, type: ssh, key: one}\n"
        "    pw: {address: box.example.org, user: me, type: ssh, key: two}\n"
        "connections:\n  ssh:\n    one: {phrase: '${NO_SUCH_NAME}'}\n    two: {password_command: touch asked}\n"
        "variables: {site: '${NO_SUCH_NAME}'}\n",
        encoding="utf-8",
    )

    plan = secrets_file.load(path, ask=False)

    assert [(platform.id, platform.password) for platform in plan.ssh] == [("hpc-lumi", None), ("hpc-pw", None)]
    assert [(key.phrase.source, key.phrase.value) for key in plan.keys] == [("environment", None)]
    assert not (tmp_path / "asked").exists()


def test_a_key_needs_no_phrase(tmp_path: Path, load: Load) -> None:
    put(tmp_path / "open", private(new_key("ed25519")))

    plan = load("connections: {ssh: {mine: {file: open}}}\n")

    assert [(key.file, key.phrase) for key in plan.keys] == [(tmp_path / "open", Phrase("none"))]
