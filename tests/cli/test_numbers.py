"""Numbers with units, and how they are written."""

import ssl

import pytest

from pipebus_cli.errors import explain
from pipebus_cli.numbers import duration, show, whole_number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("65536", 65_536),
        ("64k", 65_536),
        ("64K", 65_536),
        ("64kB", 65_536),
        ("64MB", 64 * 1024**2),
        ("1GiB", 1024**3),
        ("-1", -1),
    ],
)
def test_whole_numbers(text: str, value: int) -> None:
    assert whole_number(text) == value


@pytest.mark.parametrize("text", ["", "k", "1.5M", "1 M", "1T", "0x10", "1kk", "none", "\uff11"])
def test_not_whole_numbers(text: str) -> None:
    with pytest.raises(ValueError, match="no whole number"):
        whole_number(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("30", 30.0),
        ("1.5", 1.5),
        (".5s", 0.5),
        ("250ms", 0.25),
        ("2m", 120.0),
        ("2h", 7200.0),
        ("-1", -1.0),
    ],
)
def test_durations(text: str, value: float) -> None:
    assert duration(text) == value


@pytest.mark.parametrize("text", ["", "s", "1d", "inf", "nan", "1e3"])
def test_not_durations(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        duration(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "none"),
        (0, "0"),
        (100, "100"),
        (1000, "1000"),
        (16_384, "16k"),
        (16 * 1024**2, "16M"),
        (1024**3, "1G"),
        (1025, "1025"),
        (30.0, "30"),
        (0.25, "0.25"),
        ("auto", "auto"),
    ],
)
def test_shown_as_typed(value: object, text: str) -> None:
    assert show(value) == text


def test_what_is_shown_can_be_typed() -> None:
    for value in (1, 1023, 1024, 65_536, 5 * 1024**2, 3 * 1024**3 + 1024):
        assert whole_number(show(value)) == value


def test_explanations_carry_no_numbers_and_no_source_lines() -> None:
    assert explain(FileNotFoundError(2, "No such file or directory", "x")) == (
        "No such file or directory: x"
    )
    assert explain(PermissionError(13, "Permission denied")) == "Permission denied"
    assert explain(
        ssl.SSLError(1, "[X509: KEY_VALUES_MISMATCH] key values mismatch (_ssl.c:1)")
    ) == ("key values mismatch")
    assert explain(ValueError("text")) == "text"
    assert explain(TimeoutError()) == "TimeoutError"
