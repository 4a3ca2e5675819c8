"""Guessing a password gets slower and slower, for the guessed account only."""

from __future__ import annotations

from tests.engine_support import Stack

GUESSES = 12


def test_guessed_account_is_locked_and_others_are_not(celery: Stack) -> None:
    answers = [celery.log_in("somebody", f"guess number {number}") for number in range(GUESSES)]

    statuses = [status for status, _ in answers]
    headers = {key.lower(): value for key, value in answers[-1][1].items()}
    assert (statuses[0], statuses[-1]) == (401, 429)
    assert int(headers["retry-after"]) > 0
    assert celery.log_in()[0] == 201
