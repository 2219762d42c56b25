"""Reading YAML: places are remembered, surprises are refused, and nothing a file holds can hurt."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import ConfigError, Problem
from bot.yaml_file import MAX_BYTES, Source, read

words = st.from_regex(r"[a-z][a-z-]{0,8}", fullmatch=True)
values = st.recursive(
    st.one_of(words, st.booleans(), st.none(), st.integers(-(10**6), 10**6), st.text("ab\"'é #:,[]{}", max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=3)),
    max_leaves=12,
)


def source(folder: Path, text: str | bytes) -> Source:
    path = folder / "a.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(path, "a.yaml")


def refused(folder: Path, text: str | bytes) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        source(folder, text)
    return caught.value.problems


@given(content=st.dictionaries(words, values, min_size=1, max_size=4), flow=st.sampled_from([True, False, None]))
def test_what_a_library_wrote_is_read_back_with_a_place_for_every_value(
    tmp_path_factory: pytest.TempPathFactory,
    content: dict[str, Any],
    flow: bool | None,  # noqa: FBT001  hypothesis hands it over
) -> None:
    text = yaml.safe_dump(content, default_flow_style=flow, allow_unicode=True)
    if "&id" in text:
        return  # the library shares equal lists by anchors, which we do not take
    read_back = source(tmp_path_factory.mktemp("yaml"), text)
    assert read_back.content == content
    lines = text.splitlines()
    for path, (line, column) in read_back.keys.items():
        name = str(path[-1])
        assert lines[line - 1][column - 1 :].lstrip("\"'").startswith(name)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("on", "on"), ("yes", "yes"), ("12:30", "12:30"), ("0x1F", "0x1F"), ("1_000", "1_000"), ("2026-11-01", "2026-11-01"),
        ("true", True), ("null", None), ("", None), ("41", 41), ("-3", -3), ("4.5", 4.5), ("1e3", 1000.0), ('"41"', "41"), (".inf", ".inf"),
        ("9" * 40, float("9" * 40)), ("True", "True"),
    ],
)  # fmt: skip
def test_a_word_is_a_word_and_a_number_is_a_number(tmp_path: Path, text: str, value: object) -> None:
    assert source(tmp_path, f"a: {text}").content == {"a": value}


def test_keys_are_text_as_they_are_written(tmp_path: Path) -> None:
    assert source(tmp_path, "{41: a, 1.10: b, no: c, null: d}").content == {
        "41": "a",
        "1.10": "b",
        "no": "c",
        "null": "d",
    }


def test_every_key_written_twice_is_named_and_the_rest_is_still_read(tmp_path: Path) -> None:
    found = source(tmp_path, "a: 1\nb: {c: 1, c: 2}\na: 3\n")
    assert found.content == {"a": 1, "b": {"c": 1}}
    assert [(one.line, one.column, one.key, one.message) for one in found.problems] == [
        (2, 11, "b.c", "is written twice"), (3, 1, "a", "is written twice"),
    ]  # fmt: skip


def test_every_anchor_alias_and_tag_is_named(tmp_path: Path) -> None:
    found = refused(tmp_path, "a: &x [1]\nb: *x\nc: !!python/object:os.system {}\n")
    assert [(one.line, one.column, one.message.split()[0]) for one in found] == [
        (1, 4, "anchors"), (2, 4, "aliases"), (3, 4, "tags"),
    ]  # fmt: skip


def test_an_alias_bomb_is_refused_at_once(tmp_path: Path) -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
    began = time.monotonic()
    assert refused(tmp_path, bomb)[0].message == "anchors are not taken"
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        (b"", 1, 1, "is empty"),
        (b"# only a comment\n", 1, 1, "is empty"),
        (b"a: 1\nb: \xff\n", 2, 4, "is not UTF-8"),
        (b"a: 1\n\tb: 2\n", 2, 1, "has a tab here"),
        (b"a: 1\nb: \x07\n", 2, 4, "holds the character U+0007, which YAML does not take"),
        (b"a: [1\n", 2, 1, "is not YAML: expected ',' or ']', but got '<stream end>'"),
        (b"a: 1\n---\nb: 2\n", 2, 1, "holds a second document"),
        (b"[" * 5000, 1, 41, "is deeper than 40 levels"),
        (b"- " * 5000 + b"x", 1, 81, "is deeper than 40 levels"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_place(
    tmp_path: Path, text: bytes, line: int, column: int, message: str
) -> None:
    (found,) = refused(tmp_path, text)
    assert (found.line, found.column, found.message) == (line, column, message)


def test_a_second_document_after_a_marked_first_is_named(tmp_path: Path) -> None:
    assert source(tmp_path, "---\na: 1\n").content == {"a": 1}
    assert refused(tmp_path, "---\na: 1\n---\nb: 2\n")[0].message == "holds a second document"


def test_a_huge_file_is_refused_without_being_read(tmp_path: Path) -> None:
    assert refused(tmp_path, b"a: " + b"x" * MAX_BYTES)[0].message == "is larger than 256 KiB"


def test_a_file_of_very_many_values_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, "[" + "1," * 60_000 + "1]")[0].message == "holds more than 20,000 values"


def test_a_byte_order_mark_moves_no_place(tmp_path: Path) -> None:
    found = source(tmp_path, b"\xef\xbb\xbfa: 1\n")
    assert (found.content, found.keys["a",]) == ({"a": 1}, (1, 1))


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file") as caught:
        read(tmp_path / "none.yaml", "none.yaml")
    assert "lastgood init" in caught.value.problems[0].hint


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read(tmp_path, "a.yaml")


def test_a_key_that_is_a_list_is_named(tmp_path: Path) -> None:
    found = source(tmp_path, "? [a, b]\n: 1\nc: 2\n")
    assert (found.content, found.problems[0].message) == ({"c": 2}, "has a key that is no word")


def test_a_path_that_is_not_written_stands_at_its_nearest_ancestor(tmp_path: Path) -> None:
    found = source(tmp_path, "a:\n  - b: 1\n")
    assert found.place(("a", 0, "c")) == (2, 5)
    assert found.place(("a", 0, "b"), key=True) == (2, 5)
    assert found.place(("z",)) == (1, 1)
