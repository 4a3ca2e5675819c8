"""The program that looks at many jobs at once, and the one that reads the end of a job's output."""

from __future__ import annotations

from collections.abc import Sequence

from windrose.slurm.model import KEPT_LINES, Asked
from windrose.slurm.remote import NO_ACCOUNTING, Call, call

PIECE = 64 * 1024  # of a stream and look
MOST = 8 * 1024 * 1024  # of a look: what does not fit waits for the next one
TAIL_BYTES = 256 * 1024
# The states that Slurm publishes as ends; any other word is one of a job that goes on.
ENDED = (
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "LAUNCH_FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "RECONFIG_FAIL",
    "REVOKED",
    "TIMEOUT",
)
# Nothing is started for a job of which there is nothing new: one squeue, one sacct for all that have left the queue,
# one stat for all files; exit records are read by the shell itself.
LOOK = r"""
piece=$2 most=$3 ended=$4 no_accounting=$5 batch=$6
read -r count || answer problem 'the question did not arrive whole'
asked=$(head -n "$count")
[ "$(printf '%s\n' "$asked" | grep -c .)" = "$count" ] || answer problem 'the question did not arrive whole'
queue=$(timeout -k 5 60 squeue --me --noheader --all --states=all --format='%F|%K|%T|%r|%M|%N|%j' 2>&1) \
  || answer problem "$queue"
# asked: token|id|array|out|err|folder
plan=$({ printf '%s\n' "$asked"; echo; printf '%s\n' "$queue"; } | awk -F '|' -v ended=" $ended " '
  !asking && !length($0) { asking = 1; next }
  !asking { line[$1] = $0; order[++n] = $1; next }
  NF < 7 { next }
  {
    token = $NF; sub(/.*\./, "", token)
    if (!(token in line) || substr($NF, 1, 3) != "wr.") next
    print "Q|" $0
    seen[token] = 1
    if (!index(ended, " " $3 " ")) active[token] = 1
    if ($3 != "PENDING") begun[token] = 1
  }
  END {
    for (i = 1; i <= n; i++) {
      token = order[i]
      split(line[token], field, "|")
      if (!active[token]) print "G|" line[token]
      if (field[3] == "1") continue
      if (seen[token] && !begun[token] && field[4] == "0" && field[5] == "0") continue
      if (field[4] != "-1") print "F|" token "|out|" field[4] "|" field[6] "/out"
      if (field[5] != "-1") print "F|" token "|err|" field[5] "|" field[6] "/err"
    }
  }')
of() { printf '%s\n' "$plan" | sed -n "s/^$1|//p"; }
item queue "$(of Q)"

gone=$(of G)
if [ -n "$gone" ]; then
  ids=($(printf '%s\n' "$gone" | cut -d '|' -f 2 | grep -E '^[0-9]+$'))
  while [ "${#ids[@]}" -gt 0 ]; do
    some=$(IFS=,; printf '%s' "${ids[*]:0:$batch}")
    ids=("${ids[@]:$batch}")
    said=$(timeout -k 5 60 sacct --noheader --parsable2 --noconvert --jobs="$some" \
      --format=JobID,State,ExitCode,ElapsedRaw,TotalCPU,MaxRSS,TimelimitRaw,NodeList,Reason,JobName 2>&1) || {
      item failed "$said"
      break
    }
    item accounting "$said"
    for uid in $(printf '%s\n' "$said" | sed -n 's/^[^|]*|CANCELLED by \([0-9][0-9]*\)|.*/\1/p' | sort -u); do
      item "login $uid" "$(getent passwd "$uid" | cut -d : -f 1)"
    done
  done
  while IFS='|' read -r token id array out err folder; do
    records=
    for path in "$folder"/exit.*; do
      [ -f "$path" ] && read -r code < "$path" && records+="${path##*.} $code"$'\n'
    done
    [ -n "$records" ] && item "record $token" "$records"
    [ "$array" = 1 ] && [ -f "$folder/elements" ] && read -r number < "$folder/elements" \
      && item "elements $token" "$number"
  done < <(printf '%s\n' "$gone")
fi

files=$(of F)
if [ -n "$files" ]; then
  { printf '%s\n' "$files"; echo
    printf '%s\n' "$files" | cut -d '|' -f 4 | tr '\n' '\0' | xargs -0 stat --printf '%s|%n\n' 2>/dev/null
  } | awk -F '|' -v piece="$piece" '
    !sizes && !length($0) { sizes = 1; next }
    !sizes { from[$4] = $3; who[$4] = $1 "|" $2; next }
    ($2 in from) {
      at = from[$2]
      if (at == "-") at = $1 > piece ? $1 - piece : 0
      else if (at + 0 > $1 + 0) at = 0
      if ($1 + 0 > at + 0 || from[$2] == "-" || at + 0 != from[$2] + 0) print who[$2] "|" at "|" $1 "|" $2
    }' | while IFS='|' read -r token stream at size path; do
    new=
    if [ "$most" -gt 0 ] && [ "$size" -gt "$at" ]; then
      length=$((size - at))
      [ "$length" -gt "$piece" ] && length=$piece
      most=$((most - length))
      new=$(tail -c "+$((at + 1))" "$path" | head -c "$length" | base64)
    fi
    item "$stream $token $at $size" "$new"
  done
fi
finish
"""
TAIL = r"""
folder=$2 array=$3 lines=$4 bytes=$5
element=
if [ "$array" = 1 ]; then
  for path in "$folder"/out.*; do
    [ -f "$path" ] || continue
    number=${path##*.} code=killed
    [ -f "$folder/exit.$number" ] && read -r code < "$folder/exit.$number"
    last=$number
    [ "$code" = 0 ] && continue
    # A record of a failure tells more than a missing one: the missing may still be on its way.
    if [ "$code" = killed ]; then killed=${killed:-$number}; else failed=${failed:-$number}; fi
  done
  element=.${failed:-${killed:-${last:-0}}}
fi
for stream in out err; do
  item "$stream" "$(tail -c "$bytes" "$folder/$stream$element" 2>/dev/null | tail -n "$lines" | base64)"
done
finish
"""


def look(asked: Sequence[Asked]) -> Call:
    """Return the call that looks at jobs."""
    lines = [question(one) for one in asked]
    data = f"{len(lines)}\n".encode() + "".join(f"{line}\n" for line in lines).encode()
    words = (PIECE, MOST, " ".join(ENDED), NO_ACCOUNTING, 200)
    # The first argument, the folder for jobs, is not needed: each job tells its own.
    return call("look", LOOK, "", *words, data=data, seconds=180 + len(lines) * 0.3)


def question(asked: Asked) -> str:
    """Return the line that asks for a job."""
    offsets = ["-" if at is None else str(int(at)) for at in (asked.out, asked.err)]
    fields = [asked.token, asked.job_id, "1" if asked.array else "0", *offsets, asked.folder]
    if any("|" in text or "\n" in text for text in fields):
        raise ValueError(f"job {asked.job_id!r}: a token, an id or a folder holds a line break.")
    return "|".join(fields)


def tail(asked: Asked) -> Call:
    """Return the call that reads the end of a job's output."""
    return call("tail", TAIL, "", asked.folder, "1" if asked.array else "0", KEPT_LINES, TAIL_BYTES)
