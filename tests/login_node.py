"""Slurm's commands as small scripts, for tests that need a real shell and no cluster: they answer as Slurm does."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from windrose.slurm import answers
from windrose.slurm.remote import Call
from windrose.slurm.script import Work, normal, render

SBATCH = r"""#!/bin/bash
echo "$*" >> "$FAKE/sbatch.log"
for script; do :; done
name=$(sed -n 's/^#SBATCH --job-name=//p' "$script")
mode=$(cat "$FAKE/mode" 2>/dev/null)
number=$(($(cat "$FAKE/number" 2>/dev/null || echo 100) + 1))
env > "$FAKE/environment"; umask > "$FAKE/umask"; pwd > "$FAKE/cwd"; cat > "$FAKE/stdin"
submit() { echo "$number" > "$FAKE/number"; echo "$number|N/A|PENDING|Priority|0:00||$name" >> "$FAKE/queue"; }
fail() { echo "sbatch: error: Batch job submission failed: $1" >&2; exit 1; }
case $mode in
  refused) fail "Invalid account or account/partition combination specified" ;;
  unread) echo "sbatch: error: Invalid --time specification" >&2; exit 255 ;;
  lost) submit; fail "Socket timed out on send/recv operation" ;;
  silent) fail "Socket timed out on send/recv operation" ;;
  unsent) fail "Unable to contact slurm controller (connect failure)" ;;
  slow) sleep 1; submit; echo "$number" ;;
  noisy) submit; echo "Welcome! You have 3 jobs"; echo "12345 is not it"; echo "$number;cluster"; echo bye >&2 ;;
  *) submit; echo "$number" ;;
esac
"""
SQUEUE = r"""#!/bin/bash
echo "$*" >> "$FAKE/squeue.log"
[ -e "$FAKE/queue.down" ] && { echo "slurm_load_jobs error: Unable to contact slurm controller"; exit 1; }
for word; do case $word in --format=*) format=${word#--format=} ;; --name=*) name=${word#--name=} ;; esac; done
[ -e "$FAKE/queue" ] || exit 0
[ -n "$SQUEUE_STATES$SQUEUE_FORMAT" ] && exit 0
while IFS= read -r line; do
  IFS='|' read -r id element state reason time nodes job <<< "$line"
  [ -n "$name" ] && [ "$job" != "$name" ] && continue
  case $format in
    '%F|%j') echo "$id|$job" ;;
    '%F|%T|%V|%j') echo "$id|$state|1000|$job" ;;
    *) printf '%s\n' "$line" ;;
  esac
done < "$FAKE/queue"
"""
SACCT = r"""#!/bin/bash
echo "$*" >> "$FAKE/sacct.log"
[ -e "$FAKE/accounting.down" ] && { cat "$FAKE/accounting.down" >&2; exit 1; }
[ -e "$FAKE/accounting" ] || exit 0
for word; do case $word in --name=*) name=${word#--name=} ;; --jobs=*) jobs=,${word#--jobs=}, ;; esac; done
while IFS= read -r line; do
  id=${line%%|*}; base=${id%%[_.]*}
  if [ -n "$name" ]; then [ "${line##*|}" = "$name" ] && echo "$id|$name"
  else case $jobs in *",$base,"*) printf '%s\n' "$line" ;; esac; fi
done < "$FAKE/accounting"
"""
SCANCEL = r"""#!/bin/bash
for id; do
  echo "$id" >> "$FAKE/cancelled"
  grep -v "^$id|" "$FAKE/queue" > "$FAKE/queue.new"; mv "$FAKE/queue.new" "$FAKE/queue"
done
"""
NAME = "wr.dag.task.abc"
PROGRAMS = {"sbatch": SBATCH, "squeue": SQUEUE, "sacct": SACCT, "scancel": SCANCEL}


@dataclass(frozen=True)
class LoginNode:
    """A home with Slurm on the path of its login shell, as a site has it."""

    home: Path

    def __post_init__(self) -> None:
        programs = self.home / "bin"
        programs.mkdir(parents=True)
        self.fake.mkdir()
        for name, text in PROGRAMS.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        self.profile('PATH="$HOME/bin:$PATH"; export FAKE="$HOME/fake"\n')

    @property
    def fake(self) -> Path:
        """Where the commands keep what they know."""
        return self.home / "fake"

    def profile(self, text: str) -> None:
        """Let the login shell begin with these lines."""
        (self.home / ".bash_profile").write_text(text)

    def says(self, name: str, text: str) -> None:
        """Let a command know something."""
        (self.fake / name).write_text(text)

    def lines(self, name: str) -> list[str]:
        """Return what a command noted."""
        path = self.fake / name
        return path.read_text().splitlines() if path.exists() else []

    def start(self, call: Call) -> subprocess.Popen[bytes]:
        """Run a call as sshd does, and do not wait."""
        environment = {"HOME": str(self.home), "PATH": os.environ["PATH"], "USER": "researcher", "LANG": "C.UTF-8"}
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        return subprocess.Popen(["sh", "-c", call.command], **pipes, env=environment, cwd=self.home)

    def raw(self, call: Call) -> bytes:
        """Run a call and return all that it says."""
        process = self.start(call)
        said, complaints = process.communicate(call.data, timeout=60)
        assert complaints == b""
        return said

    def run(self, call: Call) -> list[answers.Item]:
        """Run a call and return its answer."""
        return answers.items(self.raw(call), call.mark)

    def answer(self, call: Call) -> tuple[str, str]:
        """Run a call and return its last word with what stands behind it."""
        last = self.run(call)[-1]
        return " ".join(last.words), last.text


def write_job(folder: Path, work: Work, **words: Any) -> Path:
    """Write a job as the cluster does when it submits it."""
    (folder / "script").write_text(normal(work.script))
    path = folder / "job.sh"
    path.write_text(render(NAME, work, **words).replace("{folder}", str(folder)))
    return path


def run_job(folder: Path, work: Work, *, job_id: str = "5", **words: Any) -> tuple[int, str, str]:
    """Run a job as Slurm does, and return how it ended and what it said."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "SLURM_JOB_ID": job_id, "LANG": "C.UTF-8"}
    argv = ["bash", "-l", str(write_job(folder, work, **words))]
    done = subprocess.run(argv, capture_output=True, env=environment, timeout=60, cwd=folder)
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def apptainer(folder: Path) -> None:
    """Put a program there that tells with which words it was called."""
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin" / "apptainer").write_text('#!/bin/sh\nfor word; do echo "$word"; done\n')
    (folder / "bin" / "apptainer").chmod(0o755)
