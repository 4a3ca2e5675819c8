"""What to change when sbatch, or the file system below it, turns a job down."""

from __future__ import annotations

import re
from dataclasses import dataclass

from windrose.slurm.model import Refused


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal that a person can do something with."""

    says: str  # Slurm's sentence, and what to change
    may_retry: bool  # whether the same job may be taken later, without a change


@dataclass(frozen=True, slots=True)
class _Known:
    pattern: re.Pattern[str]
    mend: str
    passes: bool = False


def _known(pattern: str, mend: str, *, passes: bool = False) -> _Known:
    return _Known(re.compile(pattern, re.IGNORECASE), mend, passes)


_LATER = "try again later"
# The first that fits counts: of one error, sbatch prints what it found before what it failed with.
KNOWN = (
    _known(r"quota exceeded", "delete files that are not needed there, or ask the site for more room"),
    _known(r"no space left", "the disk is full: delete what is not needed there, or name another `scratch`"),
    _known(r"read-only file system", "the disk cannot be written now", passes=True),
    _known(
        r"there is no folder|mkdir: .*(permission denied|no such file)",
        "check `scratch` of the platform in secrets.yaml",
    ),
    _known(r"signs in its name", "name another `scratch` in secrets.yaml, of letters, digits and ./_- alone"),
    _known(
        r"sbatch: command not found",
        "load Slurm in the login shell there (~/.bash_profile), or check the platform's address",
    ),
    _known(
        r"invalid account|unknown association|has no associations",
        "check `account=`, and that it may use this partition: `sacctmgr show associations "
        "user=$USER` there lists yours",
    ),
    _known(r"invalid partition|no partition specified", "check `partition=`: `sinfo -s` there lists them"),
    _known(
        r"group not permitted|partition.*access",
        "this login may not use the partition; take another `partition=` or `account=`",
    ),
    _known(
        r"invalid qos",
        "check `qos=`, and that the account may use it: `sacctmgr show associations user=$USER "
        "format=account,qos` there lists yours",
    ),
    _known(
        r"--time specification|time limit is invalid|invalid time",
        'check `time=`: "D-HH:MM:SS", within the limit of the partition',
    ),
    _known(
        r"job submit limit|SubmitJob",
        "too many jobs wait already, or this one asks for more than it may: ask for less, or "
        "try again when others have ended",
        passes=True,
    ),
    _known(
        r"node configuration is not available",
        "no node of the partition has that much: lower `cpus=`, `memory=`, `gpus=` or "
        "`tasks_per_node=`, or take another `partition=`",
    ),
    _known(r"node count", "check `nodes=` against what the partition allows"),
    _known(
        r"more processors|cpu count|task count|number of (tasks|cpus|nodes)|threads per core",
        "check `tasks=`, `tasks_per_node=`, `cpus=` and `nodes=`",
    ),
    _known(r"memory (required|specification)|--mem", "check `memory=`, `memory_per_cpu=` and `memory_per_gpu=`"),
    _known(r"gres|gpu|tres", "check `gpus=` and `gres=`: `sinfo -o '%P %G'` there lists what nodes have"),
    _known(r"array", "check `array=`: indexes such as 0-9, no more than the site allows"),
    _known(r"dependency", "check `dependency=`: a condition and ids of jobs that the cluster still knows"),
    _known(r"reservation is in use|reservation not usable now", _LATER, passes=True),
    _known(r"reservation", "check `reservation=`, and that this login may use it"),
    _known(r"feature|constraint", "check `constraint=`: `sinfo -o '%P %f'` there lists the features"),
    _known(r"licens", "check `licenses=`: `scontrol show licenses` there lists them"),
    _known(r"node (name|list)|nodes not in this partition", "check the names of nodes"),
    _known(
        r"required (node|partition) not available|partition in down|partition configuration not " "available",
        "take another `partition=`, or try again when it is open",
        passes=True,
    ),
    _known(r"submissions disabled|maintenance", "the site takes no jobs now; " + _LATER, passes=True),
    _known(r"invalid user id|user id", "the site does not know this login any more: ask its support"),
    _known(
        r"i/o error writing|unable to create job record|internal error|no more",
        "the cluster could not take it; " + _LATER,
        passes=True,
    ),
    _known(r"pathname .*too long", "name a shorter `scratch`, or shorter paths"),
    _known(
        r"unrecognized option|invalid option|invalid directive|requires an "
        "argument|ambiguous|invalid argument|invalid .* specification",
        "check the option in `extra_directives=` or in the script's #SBATCH lines",
    ),
    _known(r"was cancelled before", ""),
    _known(r"permission denied", "this login may not do that there: check `account=`, `partition=` and `scratch`"),
)


def refusal(refused: Refused | str, platform: str = "") -> Refusal:
    """Return a refusal with what to change, and whether it may pass by itself."""
    says = refused if isinstance(refused, str) else refused.says
    known = next((one for one in KNOWN if one.pattern.search(says)), None)
    where = f"{platform}: " if platform else ""
    what = f"{where}the job was refused: {plain(says)}"
    mend = f"; {known.mend}" if known and known.mend else ""
    return Refusal(f"{what}{mend}.", known is not None and known.passes)


def plain(says: str) -> str:
    """Return sbatch's sentence without the words that are in front of each of its lines."""
    text = re.sub(r"\s*\b(sbatch: )?error: ", "; ", f" {says}").strip("; ").replace("sbatch: ", "")
    return text.removeprefix("Batch job submission failed: ").rstrip(".") or "sbatch did not say why"
