"""`make lint`: style, types, Dockerfiles, shell and YAML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts import airflow_venv, process, tree
from scripts.console import say
from scripts.developer_tools import ensure_tools, tool
from scripts.errors import ExitCode
from scripts.settings import ROOT, environment

MYPY = ("mypy", "--config-file=.mypy.ini", "--cache-dir=.windrose/test/mypy", "--no-error-summary")
IN_AIRFLOW = Path("scripts/in_airflow")


@dataclass(frozen=True, slots=True)
class Check:
    """One tool, what it is called with, and why it is left out ('' is not at all)."""

    name: str
    argv: tuple[str, ...]
    left_out: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one tool found."""

    check: Check
    output: str

    @property
    def state(self) -> str:
        """Return the word that is printed."""
        if self.check.left_out:
            return "skipped"
        return "failed" if self.output else "passed"


def run() -> int:
    """Run every tool and print what it finds."""
    ensure_tools()
    findings = lint()
    return ExitCode.PROBLEM if any(finding.state == "failed" for finding in findings) else ExitCode.DONE


def lint() -> list[Finding]:
    """Run each tool, printing one line for it and its findings below."""
    findings = []
    for check in checks(tree.files()):
        finding = Finding(check, "" if check.left_out else findings_of(check.argv))
        reason = f" ({check.left_out})" if check.left_out else ""
        say(f"{check.name}: {finding.state}{reason}")
        if finding.output:
            say(finding.output)
        findings.append(finding)
    return findings


def findings_of(argv: Sequence[str]) -> str:
    """Run one tool in the tree; return what it has to say, '' where it is content."""
    done = process.run([str(tool(argv[0])), *argv[1:]], folder=ROOT, environment=environment(), check=False)
    output = "\n".join(text.rstrip() for text in (done.stdout, done.stderr) if text.strip())
    return (output or f"{argv[0]} ended with code {done.code}") if done.code != 0 else ""


def checks(files: Sequence[Path]) -> list[Check]:
    """Decide which tool looks at which files."""
    python = [path for path in files if path.suffix == ".py"]
    ours = [path for path in python if path.parts[0] == "scripts" and IN_AIRFLOW not in path.parents]
    with_airflow = [path for path in python if IN_AIRFLOW in path.parents or path.parts[:2] == ("plugins", "windrose")]
    dockerfiles = [path for path in files if is_dockerfile(path)]
    has_airflow = airflow_venv.STAMP.exists()
    airflow_mypy = (*MYPY, f"--python-executable={airflow_venv.PYTHON}")
    return [
        check("ruff check", ("ruff", "check", "--quiet", "--output-format=concise"), python),
        check("ruff format", ("ruff", "format", "--check", "--output-format=concise"), python),
        check("mypy", MYPY, ours),
        check("mypy in Airflow", airflow_mypy, with_airflow, "" if has_airflow else "no .venv-airflow yet"),
        check("hadolint", ("hadolint", "--no-color", "--config=.hadolint.yaml"), dockerfiles),
        check("shellcheck", ("shellcheck", "--external-sources"), [path for path in files if is_shell(path)]),
        check(
            "yamllint", ("yamllint", "--strict", "--config-file=.yamllint"), [path for path in files if is_yaml(path)]
        ),
    ]


def check(name: str, argv: Sequence[str], files: Sequence[Path], left_out: str = "") -> Check:
    """Return a check of these files."""
    return Check(name, (*argv, *map(str, files)), left_out if files else "no such files")


def is_dockerfile(path: Path) -> bool:
    """Say whether a file is a Dockerfile."""
    return path.name == "Dockerfile" or path.name.startswith("Dockerfile.") or path.suffix == ".Dockerfile"


def is_shell(path: Path) -> bool:
    """Say whether a file is a shell script, by its end or its first line."""
    if path.suffix in (".sh", ".bash"):
        return True
    program = tree.first_line(path).removeprefix("#!").split() if not path.suffix else []
    return any(Path(word).name in ("sh", "bash", "dash") for word in program[:2]) and tree.first_line(path)[:2] == "#!"


def is_yaml(path: Path) -> bool:
    """Say whether a file is YAML."""
    return path.suffix in (".yaml", ".yml") or path.name == ".yamllint"
