"""What runs on a login node: fixed programs for bash, sent so that no shell there reads anything of ours but letters.

A program gets its arguments quoted and its data over stdin, runs in a login shell (that is where sites put Slurm on the
path) whose own words go nowhere, and answers in items of a stated length, packed with a checksum, between random marks.
"""

from __future__ import annotations

import base64
import secrets
import shlex
from dataclasses import dataclass, field

SUBMIT_SECONDS = 60  # sbatch is ended after so long
SETTLED_SECONDS = 180  # after so long without a trace of its job, a claim that nobody answered for is taken over
NO_ANSWER = (  # of sbatch: nobody knows whether there is a job
    "Unable to contact slurm controller|Socket timed out|Zero Bytes|Communication (connection|shutdown) failure"
    "|Message (send|receive) failure|Unexpected message|Insane message|Connection (refused|reset|timed out)"
    "|Broken pipe|Transport endpoint|standby mode|Rate limit exceeded|sleeping and retrying|temporarily disabled"
    "|authentication error|Incompatible versions|Resource temporarily unavailable|No route to host"
    "|Network is unreachable|Unspecified error|munge|try again|DNS"
)
NOT_SENT = "connect failure|Rate limit exceeded|standby mode"  # of these: there is certainly none
NO_ACCOUNTING = "accounting storage is disabled"  # sacct's answer where a cluster keeps no accounts

# The login shell gets nothing to read, and its words go nowhere; 7 is our data, 9 where our answer goes.
OUTER = r"""
exec 7<&0 9>&1 </dev/null >/dev/null 2>&1
exec bash -lc "$program" windrose "$@"
"""
# What a profile may have left behind must not change what follows; a program of a profile that still runs holds nothing
# that anybody waits for.
BEGIN = r"""
exec 0<&7 7<&-
set +euxfC; IFS=$' \t\n'; unalias -a; trap '' HUP PIPE
unset -f awk base64 cat cd chmod command cut date getent grep gzip head ln mkdir mv printf read rm sed sort stat tail
unset -f timeout tr xargs
unset CDPATH GREP_OPTIONS POSIXLY_CORRECT BASH_ENV ENV SLURM_TIME_FORMAT ${!SQUEUE_*} ${!SACCT_*} ${!SCANCEL_*}
windrose_umask=$(umask); umask 077
windrose_language=${LC_ALL-unset}
export SLURM_BITSTR_LEN=0
LC_ALL=C
item() { printf '%s %d\n' "$1" "${#2}"; printf '%s\n' "$2"; }
finish() { item done ''; exit 0; }
answer() { item "$1" "$2"; finish; }
root= rest=$1
# Only the names of variables mean something in a folder's name, and nothing else of a shell.
while [[ $rest =~ ^([^$]*)[$]([{]([A-Za-z_][A-Za-z0-9_]*)[}]|([A-Za-z_][A-Za-z0-9_]*))(.*)$ ]]; do
  variable=${BASH_REMATCH[3]}${BASH_REMATCH[4]}
  root+=${BASH_REMATCH[1]}${!variable-} rest=${BASH_REMATCH[5]}
done
root+=$rest
case $root in
  '' | '~') root=$HOME ;;
  '~/'*) root=$HOME/${root#'~/'} ;;
  /*) ;;
  *) root=$HOME/$root ;;
esac
while [ "${root%/}" != "$root" ]; do root=${root%/}; done
jobs=$root/.windrose
main() {
case $jobs in
  *[!A-Za-z0-9_./+@=:,~-]* | [!/]*)
    answer refused "the folder for jobs, $root, has signs in its name that Slurm reads in its own way" ;;
esac
"""
END = r"""
}
printf '\n%s\n' "$begin" >&9
main "$@" 9>&- | gzip -1 -c | base64 >&9
printf '\n%s\n' "$end" >&9
"""
SUBMIT = r"""
token=$2 name=$3 settled=$4 patience=$5 no_answer=$6 not_sent=$7 no_accounting=$8
folder=$jobs/$token
item folder "$folder"
read -r job_size script_size origin_size || answer problem 'the job did not arrive whole'

save() { # <file> <size>: the next bytes of what came along
  rm -f "$1.new"
  head -c "$2" > "$1.new" && [ "$(stat -c %s "$1.new")" = "$2" ]
}
known_id() { [ -s "$folder/id" ] && read -r id < "$folder/id" && [ -n "$id" ]; }
keep_id() { # <id>: the first one that is written down is the one
  printf '%s\n' "$1" > "$folder/.id.$$" && { ln "$folder/.id.$$" "$folder/id" || mv -n "$folder/.id.$$" "$folder/id"; }
  rm -f "$folder/.id.$$"
  known_id || id=$1
}
age_of() { # <path>: in seconds, by the clock of the file system alone
  local now then
  : > "$folder/.now.$$" && now=$(stat -c %Y "$folder/.now.$$") && then=$(stat -c %Y "$1") || return 1
  rm -f "$folder/.now.$$"
  age=$((now - then))
}
in_queue() { # sets found; fails where nobody answers
  local said
  said=$(timeout -k 5 30 squeue --me --noheader --all --states=all --name="$name" --format='%F|%j' 2>&1) \
    || { says=$said; return 1; }
  found=$(printf '%s\n' "$said" | awk -F '|' -v name="$name" '$1 ~ /^[0-9]+$/ && $2 == name { print $1; exit }')
}
in_accounting() { # <seconds since 1970>
  local said
  said=$(timeout -k 5 60 sacct --noheader --parsable2 --allocations --name="$name" \
    --starttime="$(date -d "@$1" +%Y-%m-%dT%H:%M:%S)" --format=JobID,JobName 2>&1) || {
    found=
    if printf '%s\n' "$said" | grep -qiE -- "$no_accounting"; then return 0; fi
    says=$said
    return 1
  }
  found=$(printf '%s\n' "$said" | awk -F '|' -v name="$name" \
    '$1 ~ /^[0-9]+(_|$)/ && $2 == name { sub(/_.*/, "", $1); print $1; exit }')
}
later() { item "unsure $1" "$2"; finish; }
stopped() { answer refused 'the job was cancelled before it was submitted'; }

[ -d "$root" ] || answer refused "there is no folder $root"
# A project's scratch is for all its members, and so is the folder for jobs; a job's own is its owner's alone.
mkdir "$jobs" 2>/dev/null && { chmod --reference="$root" "$jobs"; chmod u+rwx,+t "$jobs"; }
[ -d "$jobs" ] || answer refused "$(mkdir "$jobs" 2>&1)"
mkdir "$folder" 2>/dev/null || [ -d "$folder" ] || answer refused "$(mkdir "$folder" 2>&1)"
known_id && answer found "$id"
[ -e "$folder/cancelled" ] && stopped

last=0
for attempt in "$folder"/attempt.*; do
  number=${attempt##*.}
  case $number in *[!0-9]*) ;; *) [ "$number" -gt "$last" ] && last=$number ;; esac
done
if [ "$last" -gt 0 ] && [ ! -e "$folder/attempt.$last/refused" ]; then
  in_queue || later 30 "the queue cannot be asked: $says"
  [ -n "$found" ] && { keep_id "$found"; answer found "$id"; }
  in_accounting $(($(stat -c %Y "$folder/attempt.1") - 86400)) || later 30 "accounting cannot be asked: $says"
  [ -n "$found" ] && { keep_id "$found"; answer found "$id"; }
  age_of "$folder/attempt.$last" || later 30 "nothing can be written to $folder"
  if [ "$age" -lt "$settled" ]; then
    wait=$((settled - age)); [ "$wait" -gt 30 ] && wait=30
    [ "$age" -lt $((patience + 10)) ] && [ "$wait" -gt 3 ] && wait=3
    later "$wait" 'another submit of this job has not been answered yet'
  fi
  known_id && answer found "$id"
fi
attempt=$folder/attempt.$((last + 1))
mkdir "$attempt" 2>/dev/null || { [ -d "$attempt" ] && later 3 'another submit of this job is under way'
  answer refused "$(mkdir "$attempt" 2>&1)"; }
mkdir "$folder/work" 2>/dev/null
says=$({ save "$folder/job.sh" "$job_size" && save "$folder/script" "$script_size" \
  && save "$folder/origin.json" "$origin_size"; } 2>&1) || {
  : > "$attempt/refused"
  [ -n "$says" ] && answer refused "$says"
  answer problem 'the job did not arrive whole'
}
says=$({ sed "s|{folder}|$folder|g" "$folder/job.sh.new" > "$attempt/job.sh" && mv "$attempt/job.sh" "$folder/job.sh" \
  && mv "$folder/script.new" "$folder/script" && mv "$folder/origin.json.new" "$folder/origin.json" \
  && rm "$folder/job.sh.new" && cd "$folder/work"; } 2>&1) && cd "$folder/work" \
  || { : > "$attempt/refused"; answer refused "$says"; }
# Whoever was held up here for long may not go on: somebody else may have taken over.
age_of "$attempt" && [ "$age" -lt "$patience" ] || later 3 'the cluster is slow'
[ -e "$folder/attempt.$((last + 2))" ] && later 3 'another submit of this job is under way'
known_id && answer found "$id"
[ -e "$folder/cancelled" ] && { : > "$attempt/refused"; stopped; }
said=$(
  for option in ACCOUNT PARTITION QOS; do
    grep -q "^#SBATCH --${option,,}=" "$folder/job.sh" && unset "SBATCH_$option"
  done
  for variable in ${!SBATCH_*}; do
    case $variable in SBATCH_ACCOUNT | SBATCH_PARTITION | SBATCH_QOS) ;; *) unset "$variable" ;; esac
  done
  unset SLURM_BITSTR_LEN
  if [ "$windrose_language" = unset ]; then unset LC_ALL; else LC_ALL=$windrose_language; fi
  umask "$windrose_umask"
  trap - PIPE HUP
  exec timeout -k 5 "$patience" sbatch --parsable "$folder/job.sh" 2> "$attempt/said" < /dev/null
)
code=$?
id=$(printf '%s\n' "$said" | sed -n 's/^\([0-9][0-9]*\)\(;.*\)\{0,1\}$/\1/p' | tail -n 1)
says=$(tail -c 4000 "$attempt/said")
if [ "$code" = 0 ] && [ -n "$id" ]; then
  mine=$id
  keep_id "$mine"
  [ "$id" != "$mine" ] && timeout -k 5 30 scancel "$mine"
  [ -e "$folder/cancelled" ] && { timeout -k 5 30 scancel "$mine"; }
  answer submitted "$id"
fi
# 124 and 137: its time was over; above 128 a signal ended it; 255 is sbatch's own word for what it cannot read.
case $code in
  0 | 124 | 125 | 129 | 1[3-9]? | 2[0-4]? | 25[0-4])
  later 30 "sbatch gave no answer (code $code): $says" ;;
esac
if printf '%s\n' "$says" | grep -qiE -- "$not_sent"; then
  : > "$attempt/refused"
  later 30 "$says"
fi
printf '%s\n' "$says" | grep -qiE -- "$no_answer" && later 30 "$says"
[ "$code" = 127 ] && { : > "$attempt/refused"; answer refused "sbatch: command not found"; }
in_queue || later 30 "$says"
[ -n "$found" ] && { keep_id "$found"; answer found "$id"; }
: > "$attempt/refused"
answer refused "${says:-sbatch ended with code $code and said nothing}"
"""
FOLDER = r"""
answer folder "$jobs/$2"
"""
CANCEL = r"""
token=$2 id=$3
folder=$jobs/$token
# A submit that is on its way sees this before it calls sbatch and after, and a job that starts sees it, too.
[ -d "$jobs" ] && { mkdir "$folder"; : > "$folder/cancelled"; }
said=$(timeout -k 5 60 squeue --me --noheader --all --format='%F|%j' 2>&1) || answer problem "$said"
ids=$(printf '%s\n' "$said" | awk -F '|' -v token="$token" '
  $1 ~ /^[0-9]+$/ && substr($2, 1, 3) == "wr." && substr($2, length($2) - length(token)) == "." token && !seen[$1]++ {
    print $1
  }')
[ -s "$folder/id" ] && read -r id < "$folder/id"
if [ -n "$ids" ]; then
  says=$(timeout -k 5 60 scancel $ids 2>&1) \
    || printf '%s\n' "$says" | grep -qiE 'Invalid job id|already complet' || answer problem "${says:-scancel failed}"
  id=${ids%%[!0-9]*}
fi
answer cancelled "$id"
"""
QUEUED = r"""
export SLURM_TIME_FORMAT=%s
printf -v now '%(%s)T' -1
said=$(timeout -k 5 60 squeue --me --noheader --all --format='%F|%T|%V|%j' 2>&1) || answer problem "$said"
printf '%s\n' "$said" | awk -F '|' '$1 ~ /^[0-9]+$/ && NF == 4 && substr($4, 1, 3) == "wr." && !seen[$1]++' \
  | while IFS='|' read -r id state submitted name; do
    token=${name##*.}
    case $token in '' | *[!a-z2-7]*) continue ;; esac
    case $submitted in '' | *[!0-9]*) age=-1 ;; *) age=$((now - submitted)) ;; esac
    origin=
    IFS= read -r -d '' origin < "$jobs/$token/origin.json" || true
    item "queued $token $id $state $age" "$origin"
  done
finish
"""


@dataclass(frozen=True, slots=True)
class Call:
    """A program on its way: the command, what goes to its stdin, and between which marks its answer stands."""

    command: str
    data: bytes = b""
    mark: str = ""
    seconds: float = 120.0
    name: str = field(default="", compare=False)


def call(name: str, program: str, *arguments: object, data: bytes = b"", seconds: float = 120.0) -> Call:
    """Return a call of a program; the command holds letters and digits only, so that any login shell passes it on."""
    mark = secrets.token_hex(16)
    lines = [
        f"program={shlex.quote(f'begin={mark}-begin end={mark}-end' + BEGIN + program + END)}",
        "set -- " + " ".join(shlex.quote(str(argument)) for argument in arguments),
        OUTER,
    ]
    packed = base64.b64encode("\n".join(lines).encode("utf-8", "surrogateescape")).decode("ascii")
    return Call(f"exec bash -c 'eval \"$(echo {packed} | base64 -d)\"'", data, mark, seconds, name)


def submit(root: str, token: str, name: str, parts: tuple[bytes, bytes, bytes]) -> Call:
    """Return the call that submits a job, or finds it: its batch script, the person's script, where it comes from."""
    data = " ".join(str(len(part)) for part in parts).encode() + b"\n" + b"".join(parts)
    words = (SETTLED_SECONDS, SUBMIT_SECONDS, NO_ANSWER, NOT_SENT, NO_ACCOUNTING)
    return call("submit", SUBMIT, root, token, name, *words, data=data, seconds=SUBMIT_SECONDS * 4)


def folder(root: str, token: str) -> Call:
    """Return the call that tells where a job's folder is."""
    return call("folder", FOLDER, root, token)


def cancel(root: str, token: str, job_id: str) -> Call:
    """Return the call that cancels a job."""
    return call("cancel", CANCEL, root, token, job_id, seconds=150)


def queued(root: str) -> Call:
    """Return the call that lists our jobs in the queue."""
    return call("queued", QUEUED, root)
