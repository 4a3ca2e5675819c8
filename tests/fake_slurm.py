"""A stand-in for Slurm on this machine: four shell programs that run a job's script in the background and remember it.

It knows just what tests/firecrest_server.py asks, in the layout that it asks for; what real Slurm does is tested with
real Slurm, in tests/hpc.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

SBATCH = r"""#!/bin/bash
for word; do case $word in --chdir=*) cd "${word#*=}" || exit 1;; -*) ;; *) script=$word;; esac; done
[ -n "$script" ] || { script=$(mktemp); cat > "$script"; }
said() { sed -n "s/^#SBATCH --$1=//p" "$script" | head -n 1; }
if [ "$(said account)" = nobody ]; then
    echo "sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified" >&2
    exit 1
fi
exec 9> "$FAKE_SLURM/lock"; flock 9
id=$(( $(cat "$FAKE_SLURM/last" 2> /dev/null || echo 100) + 1 )); echo "$id" > "$FAKE_SLURM/last"
job=$FAKE_SLURM/$id; mkdir "$job"
said job-name > "$job/name"; pwd > "$job/folder"; cp "$script" "$job/script"
out=$(said output); err=$(said error)
echo RUNNING > "$job/state"
SLURM_JOB_ID=$id setsid bash -c 'echo $$ > "$1/pid"; bash "$1/script" > "$2" 2> "$3"; code=$?
    [ "$(cat "$1/state")" = RUNNING ] || exit
    echo "$code:0" > "$1/code"; [ $code = 0 ] && echo COMPLETED > "$1/state" || echo FAILED > "$1/state"' \
    - "$job" "${out:-$job/out}" "${err:-$job/err}" < /dev/null > /dev/null 2>&1 9>&- &
echo "Submitted batch job $id"
"""
ROWS = r"""#!/bin/bash
for word; do case $word in --jobs=*) wanted=${word#*=};; esac; done
[ ! -e "$FAKE_SLURM/down" ] || { echo "${0##*/}: error: slurm_persist_conn_open: Connection refused" >&2; exit 1; }
for job in "$FAKE_SLURM"/[0-9]*/; do
    id=$(basename "$job"); [ -d "$job" ] || continue
    [ -z "$wanted" ] || [ "$wanted" = "$id" ] || continue
    state=$(cat "$job/state")
    if [ "${0##*/}" = squeue ]; then
        case $state in PENDING|RUNNING) ;; *) continue;; esac
    fi
    echo "$id|1|project|$(cat "$job/name")|node1|standard|$state|None|3|me|$(cat "$job/code" 2> /dev/null || echo 0:0)"
done
"""
SCANCEL = r"""#!/bin/bash
id=${@: -1}; job=$FAKE_SLURM/$id
[ -d "$job" ] || { echo "scancel: error: Kill job error on job id $id: Invalid job id specified" >&2; exit 1; }
case $(cat "$job/state") in
    RUNNING) echo "CANCELLED by 1000" > "$job/state"; kill -- "-$(cat "$job/pid")"; exit 0;;
    *) echo "scancel: error: Kill job error on job id $id: Job/step already completing or completed" >&2;;
esac
"""


@dataclass(frozen=True)
class FakeSlurm:
    """The stand-in, and where its users' files are."""

    folder: Path
    scratch: Path

    @property
    def environment(self) -> dict[str, str]:
        """Return what a command of it needs."""
        return {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "FAKE_SLURM": str(self.folder / "jobs"),
            "HOME": str(self.scratch),
            "LANG": "C.UTF-8",
        }

    def jobs(self) -> list[str]:
        """Return the ids of all jobs that there ever were."""
        return sorted(path.name for path in (self.folder / "jobs").iterdir() if path.is_dir())

    def set_state(self, job_id: str, state: str) -> None:
        """Let a job be in some state."""
        (self.folder / "jobs" / job_id / "state").write_text(state + "\n")


def make(folder: Path) -> FakeSlurm:
    """Make the stand-in below a folder."""
    made = FakeSlurm(folder, folder / "scratch")
    for path in (folder / "bin", folder / "jobs", made.scratch):
        path.mkdir(parents=True)
    for name, text in {"sbatch": SBATCH, "squeue": ROWS, "sacct": ROWS, "scancel": SCANCEL}.items():
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)
    return made
