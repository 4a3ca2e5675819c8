"""What can go wrong, and the exit code that says so.

    KitError            a known problem: where, what, how to mend it      exit 1
    ├── UsageError      the command was called wrongly                    exit 2
    └── CommandFailed   a program we started came back with an error      exit 1

Anything else is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes that README lists."""

    DONE = 0
    PROBLEM = 1
    USAGE = 2
    NOTHING = 3


class KitError(Exception):
    """A problem the user can mend: printed as `where: problem; fix.`"""

    exit_code = ExitCode.PROBLEM

    def __init__(self, where: str, problem: str, fix: str) -> None:
        super().__init__(where, problem, fix)
        self.where = where
        self.problem = problem
        self.fix = fix

    def __str__(self) -> str:
        """Return the one line the user reads."""
        return f"{self.where}: {self.problem}; {self.fix.rstrip('.')}."


class UsageError(KitError):
    """The command was called with words it does not take."""

    exit_code = ExitCode.USAGE


class Problems(KitError):
    """Several problems of one input, all told at once."""

    def __init__(self, problems: list[KitError]) -> None:
        super().__init__(problems[0].where, problems[0].problem, problems[0].fix)
        self.problems = problems

    def __str__(self) -> str:
        """Return one line a problem."""
        return "\n".join(str(problem) for problem in self.problems)


class CommandFailed(KitError):
    """A program we started ended with an error."""

    def __init__(self, argv: list[str], code: int, output: str) -> None:
        last = [line.strip() for line in output.strip().splitlines() if line.strip()]
        program = " ".join(argv[:3])
        super().__init__(program, last[-1][:400] if last else f"ended with code {code}", "see the lines above")
        self.code = code
        self.output = output
