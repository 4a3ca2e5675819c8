"""What of a job's output stands in the log of its task: lines that can be read, up to a limit, and the last of them."""

from __future__ import annotations

import pytest
from windrose.slurm.job_log import KEPT_BYTES, LINE_COST, LONGEST_LINE, JobLog, bounded
from windrose.slurm.model import KEPT_LINES

CUT = " [cut: the line goes on in the file]"
HOSTILE = {
    b"\x1b[31mred\x1b[0m \x1b]0;title\x07plain": "red plain",
    b"\x1b]8;;http://example.org\x1b\\link\x1b]8;;\x1b\\": "link",
    b"  5%\r 50%\r100%\r": "100%",
    b"from Windows\r": "from Windows",
    b"bad \xff\xfe utf-8": "bad \ufffd\ufffd utf-8",
    b"nul \x00 bell \x07 back\x08 \xc2\x9b31mcsi": "nul  bell  back csi",
    "right \u202e left \u2028 line".encode(): "right  left   line",
    b"::group::fold ::endgroup:: end": ": :group::fold : :endgroup:: end",
    b"x" * 1_000_000: "x" * LONGEST_LINE + CUT,
    "caf\u00e9 \U0001f980\ttab".encode(): "caf\u00e9 \U0001f980\ttab",
    b"": "",
}


def written(log: JobLog, data: bytes, piece: int) -> list[str]:
    lines = [line for at in range(0, len(data), piece) for line in log.add(data[at : at + piece], b"")]
    return [line.removeprefix("out| ") for line in [*lines, *log.add(b"", b"", final=True)]]


@pytest.mark.parametrize("piece", [7, 1000, 10**7])
def test_hostile_lines_are_shown_without_what_a_terminal_or_page_obeys(piece):
    data = b"".join(line + b"\n" for line in HOSTILE)

    assert written(JobLog(10**7), data, piece) == list(HOSTILE.values())


def test_signs_that_come_in_pieces_are_whole_and_a_line_without_an_end_is_shown_last():
    log = JobLog(10**6)

    assert written(log, "\u00e9\U0001f980 begun".encode(), 1) == ["\u00e9\U0001f980 begun"]


def test_progress_bar_without_an_end_of_line_is_shown_as_it_was_last():
    data = b"".join(b"\r%d of 10000" % number for number in range(10_001))

    assert written(JobLog(10**6), data, 500) == ["10000 of 10000"]


def test_streams_are_marked_and_do_not_break_each_others_lines():
    log = JobLog(10**6)

    assert [log.add(b"a", b"x\ny"), log.add(b"b\n", b"z\n")] == [["err| x"], ["out| ab", "err| yz"]]
    assert log.kept() == {"out": ["ab"], "err": ["x", "yz"]}


def test_log_takes_so_many_bytes_and_no_more():
    log = JobLog(10 * (LINE_COST + 5))

    shown = log.add(b"12345\n" * 100, b"")

    assert (len(shown), log.is_full, log.size) == (10, True, 60)


def test_kept_lines_are_few_and_fit_into_what_is_stored():
    many, long = [str(number) for number in range(1000)], ["x" * 4000] * 100

    assert bounded(many) == many[-KEPT_LINES:]
    assert (len(bounded(long)), 8 * 4001 <= KEPT_BYTES < 9 * 4001) == (8, True)


def test_last_lines_that_are_held_for_a_job_are_bounded_in_bytes():
    log = JobLog(10**9)

    for _ in range(50):
        log.add(b"x" * 3000 + b"\n" + b"y\n", b"")

    assert sum(map(len, log.streams["out"].last)) <= KEPT_BYTES
