"""Does a job's output arrive whole over FirecREST, whatever it holds? Over a stand-in for Slurm."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dags.firecrest_site import a_job, local_site, looked, submitted, until_ended


@pytest.fixture
def site(tmp_path):
    with local_site(tmp_path / "slurm") as (found, _):
        yield found


def read_on(site, job, found, most=40):
    """Read a job's output to its end, look by look; return it, and the largest piece."""
    whole, at, largest = b"", 0, 0
    for _ in range(most):
        seen = looked(site, job, found, out=at)
        whole, at, largest = whole + seen.out, seen.out_at, max(largest, len(seen.out))
        if not seen.more:
            return whole, largest
    raise AssertionError(at)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"plain line\n" * 13_000, id="long"),
        pytest.param("größer als Æ \N{SNOWMAN}\n".encode() * 6_000, id="letters"),
        pytest.param(b"x" * 140_000, id="one-line"),
        pytest.param(b"ok\n\xff\xfe\x80 broken\n" * 500, id="not-text"),
    ],
)
def test_output_arrives_whole_in_pieces_of_64_kb(site, text):
    job = a_job("true")
    found = submitted(site, job)
    until_ended(site, job, found)
    Path(found.folder, "out").write_bytes(text)

    whole, largest = read_on(site, job, found)

    assert whole == text
    assert largest <= 64 * 1024


def test_output_that_is_no_text_at_all_is_read_to_its_end(site):
    job = a_job("true")
    found = submitted(site, job)
    until_ended(site, job, found)
    data = bytes(range(256)) * 700
    Path(found.folder, "out").write_bytes(data)

    whole, _ = read_on(site, job, found)

    assert abs(len(whole) - len(data)) < len(data) / 20


def test_reading_in_the_middle_begins_near_the_end(site):
    job = a_job("true")
    found = submitted(site, job)
    until_ended(site, job, found)
    Path(found.folder, "out").write_bytes(b"line\n" * 10_000)

    seen = looked(site, job, found, out=None)

    assert (len(seen.out), seen.out_at) == (8 * 1024, 50_000)


def test_output_that_begins_anew_is_read_from_its_begin(site):
    job = a_job("true")
    found = submitted(site, job)
    until_ended(site, job, found)
    Path(found.folder, "out").write_bytes(b"again\n")

    seen = looked(site, job, found, out=1000)

    assert (seen.out, seen.out_at) == (b"again\n", 6)
