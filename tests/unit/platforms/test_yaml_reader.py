from __future__ import annotations

from pathlib import Path

import pytest

from scripts.errors import KitError
from scripts.platforms.yaml_reader import MAX_BYTES, Document, parse, read


def document(text: str) -> Document:
    return parse(text.encode(), "secrets.yaml")


def told(content: str | bytes) -> str:
    with pytest.raises(KitError) as caught:
        parse(content if isinstance(content, bytes) else content.encode(), "secrets.yaml")
    return str(caught.value)


def test_values_stay_as_they_are_written() -> None:
    text = "a: 0123\nb: no\nc: 1e3\nd: '~'\ne: ~\nf:\ng: [1, null]\nh: 2026-07-31\n"

    assert document(text).data == {
        "a": "0123",
        "b": "no",
        "c": "1e3",
        "d": "~",
        "e": None,
        "f": None,
        "g": ["1", None],
        "h": "2026-07-31",
    }


def test_typed_values_are_what_json_has_too() -> None:
    text = (
        "v: {a: 12, b: '12', c: yes, d: 1.5, e: null, f: 0123, g: 12:30, h: .inf, i: 2026-07-31, j: [-7, x], k: 1_000}"
    )

    assert document(text).typed(("v",)) == {
        "a": 12,
        "b": "12",
        "c": True,
        "d": 1.5,
        "e": None,
        "f": "0123",
        "g": "12:30",
        "h": ".inf",
        "i": "2026-07-31",
        "j": [-7, "x"],
        "k": 1000,
    }


def test_line_is_that_of_the_key_or_of_the_nearest_above_it() -> None:
    read_so = document("a:\n  b:\n    - x\n    - c: 1\n  d: 2\n")

    assert [
        read_so.line(place) for place in [("a",), ("a", "b", 1), ("a", "b", 1, "c"), ("a", "d"), ("a", "b", 7), ("z",)]
    ] == [1, 4, 4, 5, 2, 1]


def test_anchors_and_merge_keys_are_written_out() -> None:
    text = (
        "base: &base {user: ada, port: 22}\none: {<<: *base, port: 23}\ntwo: {<<: [{user: bob}, *base]}\nthree: *base\n"
    )

    assert document(text).data == {
        "base": {"user": "ada", "port": "22"},
        "one": {"user": "ada", "port": "23"},
        "two": {"user": "bob", "port": "22"},
        "three": {"user": "ada", "port": "22"},
    }


def test_byte_order_mark_of_an_editor_is_no_trouble() -> None:
    assert parse(b"\xef\xbb\xbfa: 1\n", "secrets.yaml").data == {"a": "1"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        pytest.param(
            "a: 1\nb: [1, 2\n",
            "secrets.yaml line 3: is not YAML; mend the indentation or brackets there, and put values with special "
            "characters into quotes.",
            id="not YAML",
        ),
        pytest.param(
            "a:\n\tb: 1\n",
            "secrets.yaml line 2: is not YAML: a tab stands where only blanks may; indent with blanks.",
            id="tab",
        ),
        pytest.param(
            b"a: 1\nb: \xff\n", "secrets.yaml line 2: is not UTF-8 text; save the file as UTF-8.", id="not UTF-8"
        ),
        pytest.param(
            "a: 1\nb: \x07\n", "secrets.yaml line 2: holds a control character; delete it.", id="control character"
        ),
        pytest.param(
            "a: 1\nb: 2\na: 3\n",
            "secrets.yaml line 3: repeats a key of its mapping; keep one of them (the first is in line 1).",
            id="duplicate key",
        ),
        pytest.param(
            "a: !!python/object:os.system x\n",
            "secrets.yaml line 1: has a YAML tag (a word that begins with `!`); delete the tag, or quote the value.",
            id="tag",
        ),
        pytest.param(
            "a: &a [*a]\n",
            "secrets.yaml line 1: names the anchor it is part of; write the value itself.",
            id="recursive alias",
        ),
        pytest.param(
            "a: *b\n",
            "secrets.yaml line 1: names an anchor that is not above it; quote a value that begins with `*`.",
            id="unknown alias",
        ),
        pytest.param(
            "[" * 50 + "]" * 50,
            "secrets.yaml line 1: is nested deeper than 20 levels; write it flatter.",
            id="too deep",
        ),
        pytest.param(
            "a: 1\n---\nb: 2\n",
            "secrets.yaml line 3: begins a second document; keep everything in one, without `---` between.",
            id="two documents",
        ),
        pytest.param(
            "a: 1\n? [b]\n: 2\n",
            "secrets.yaml line 2: has a key that is not a word; write `key: value`.",
            id="list as key",
        ),
        pytest.param(
            "a: {<<: [1]}\n",
            "secrets.yaml line 1: merges (`<<`) what is not a mapping; name the anchor of a mapping.",
            id="merge of a list",
        ),
        pytest.param(
            'a: "\\0"\n',
            "secrets.yaml line 1: has an escape for a character that no text can hold; delete the escape.",
            id="NUL by escape",
        ),
        pytest.param(
            "#" * (MAX_BYTES + 1),
            "secrets.yaml: is larger than 1000 kB; keep large values in files of their own.",
            id="too large",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_line(content: str | bytes, sentence: str) -> None:
    assert told(content) == sentence


@pytest.mark.parametrize("escape", [r"\U99999999", r"\ud800", r"\xzz"])
def test_impossible_escape_is_a_sentence(escape: str) -> None:
    assert told(f'a: "{escape}"\n').startswith("secrets.yaml")


def test_bomb_of_aliases_is_stopped_before_it_unfolds() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]

    assert told("\n".join(levels)).endswith(
        "makes the file too large with what its aliases stand for; use fewer aliases."
    )


def test_bomb_of_merges_is_stopped_before_it_unfolds() -> None:
    base = "a: &a {" + ", ".join(f"k{n}: {'x' * 100}" for n in range(100)) + "}\n"
    merges = "".join(f"m{n}: {{<<: *a}}\n" for n in range(1000))

    assert told(base + merges).endswith("use fewer aliases.")


def test_all_repeated_keys_are_told_at_once() -> None:
    assert [line.split(":")[0] for line in told("a: 1\na: 2\nb: {c: 1, c: 2}\n").splitlines()] == [
        "secrets.yaml line 2",
        "secrets.yaml line 3",
    ]


def test_folder_in_place_of_the_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(KitError) as caught:
        read(tmp_path, "secrets.yaml")

    assert str(caught.value) == "secrets.yaml: is not a file; put a text file there."
