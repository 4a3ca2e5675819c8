"""What a login node answered, read back: items of a stated length, lines of squeue and sacct, exit records."""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from windrose.slurm.directives import ScriptError
from windrose.slurm.model import KEPT_LINES, Asked, ClusterError, Facts, Queued, Record, Seen
from windrose.slurm.remote_look import ENDED
from windrose.slurm.resources import elements

MOST_BYTES = 256 * 1024 * 1024  # of an answer, unpacked
LONGEST_LINE = 2000
QUEUE_LINE = re.compile(r"(\d+)\|([^|]*)\|([A-Z_]+)\|(.*)\|([^|]*)\|([^|]*)\|([^|]*)")
MAIN_ROW = re.compile(r"(\d+)(?:_(\d+|\[[^\]]*\]))?")
STEP_ROW = re.compile(r"(\d+)(?:_(\d+))?\.[^|]*")
DURATION = re.compile(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+)(?:\.(\d+))?")
UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4, "P": 1024**5}
# Of an array whose elements ended differently, the state that tells most.
WORST = (
    "OUT_OF_MEMORY",
    "TIMEOUT",
    "FAILED",
    "LAUNCH_FAILED",
    "BOOT_FAIL",
    "NODE_FAIL",
    "RECONFIG_FAIL",
    "DEADLINE",
    "PREEMPTED",
    "REVOKED",
    "CANCELLED",
)


@dataclass(frozen=True, slots=True)
class Item:
    """A piece of an answer."""

    words: tuple[str, ...]
    body: bytes

    @property
    def text(self) -> str:
        """Return the piece as text."""
        return self.body.decode("utf-8", "replace")


def between(said: bytes, mark: str) -> bytes | None:
    """Return what stands between the marks, None where the second has not come yet."""
    _, begin, rest = said.partition(f"\n{mark}-begin\n".encode())
    inside, end, _ = rest.partition(f"\n{mark}-end\n".encode())
    return inside if begin and end else None


def items(said: bytes, mark: str) -> list[Item]:
    """Return the pieces of an answer; raise ClusterError where it is not whole."""
    inside = between(said, mark)
    if inside is None:
        begun = f"\n{mark}-begin\n".encode() in said
        what = "broke off" if begun else "did not come: the login shell ended before; look at ~/.bash_profile there"
        raise ClusterError(f"the answer {what}.")
    try:
        unpacker = zlib.decompressobj(wbits=31)
        plain = unpacker.decompress(base64.b64decode(inside), MOST_BYTES)
    except (binascii.Error, zlib.error) as error:
        raise ClusterError("the answer is damaged: something else wrote into it.") from error
    found, at = [], 0
    while at < len(plain):
        line_end = plain.find(b"\n", at)
        words = plain[at:line_end].decode("utf-8", "replace").split(" ")
        if line_end < 0 or not words[-1].isdigit():
            break
        length = int(words[-1])
        body = plain[line_end + 1 : line_end + 1 + length]
        at = line_end + 2 + length
        if len(body) < length:
            break
        found.append(Item(tuple(words[:-1]), body))
    if not unpacker.eof or not found or found[-1].words != ("done",):
        raise ClusterError("the answer broke off.")
    return found[:-1]


def sentence(text: str, longest: int = 500) -> str:
    """Return what a program said as one line without signs that a log cannot show."""
    plain = re.sub(r"\x1b\[[0-9;?]*[ -/]*[@-~]", "", text)
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in plain).split())
    return line if len(line) <= longest else line[: longest - 1] + "\N{HORIZONTAL ELLIPSIS}"


def seconds(duration: str) -> float:
    """Return a length of time such as 1-02:03:04 or 03:04.500 in seconds; 0 where it is none."""
    match = DURATION.fullmatch(duration.strip())
    if match is None:
        return 0.0
    days, hours, minutes, whole = (int(piece or 0) for piece in match.groups()[:4])
    return days * 86400 + hours * 3600 + minutes * 60 + whole + float(f"0.{match[5] or 0}")


def size(text: str) -> int:
    """Return a size such as 1234K in bytes; 0 where it is none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGTP]?)", text.strip())
    return int(float(match[1]) * UNITS[match[2]]) if match else 0


def counted(indexes: str) -> int:
    """Return how many elements `5-9%2` or `[1,3]` stands for; 1 where nobody can say."""
    try:
        return elements(indexes.strip("[]"))
    except ScriptError:
        return 1


def is_name_of(name: str, token: str) -> bool:
    """Say whether a job of this name is the one of this token."""
    return name.startswith("wr.") and name.endswith(f".{token}")


def queue_facts(lines: str, asked: Mapping[str, Asked]) -> dict[str, Facts]:
    """Return what squeue says of each job asked for, by token; anything else in its output is passed over."""
    rows: dict[str, list[tuple[str, re.Match[str]]]] = {}
    for line in lines.splitlines():
        match = QUEUE_LINE.fullmatch(line)
        token = match[7].rpartition(".")[2] if match else ""
        if match and token in asked and is_name_of(match[7], token):
            rows.setdefault(token, []).append((match[3], match))
    found = {}
    for token, mine in rows.items():
        states: Counter[str] = Counter()
        for state, match in mine:
            states[state] += counted(match[2]) if match[2] not in ("N/A", "") else 1
        chosen = next(match for state, match in mine if state == leading(states))
        facts = Facts(
            state=chosen[3],
            reason="" if chosen[4] == "None" else chosen[4],
            seconds=int(max(seconds(match[5]) for _, match in mine)),
            nodes=chosen[6],
            source="queue",
        )
        found[token] = replace(facts, elements=dict(states)) if asked[token].array else facts
    return found


def leading(states: Iterable[str]) -> str:
    """Return the state that stands for all elements: one that goes on before any end, the worst end before the best."""
    known = list(states)
    going = [state for state in known if state not in ENDED]
    for state in ("RUNNING", "COMPLETING"):
        if state in going:
            return state
    ends = [state for state in WORST if state in known]
    return (going or ends or known)[0]


def accounting_facts(lines: str, asked: Mapping[str, Asked], logins: Mapping[str, str]) -> dict[str, Facts]:
    """Return what sacct says of each job asked for, by token; a job of another name is not ours, whatever its id."""
    tokens = {one.job_id: token for token, one in asked.items()}
    mains: dict[str, list[tuple[str, Facts]]] = {}
    memory: Counter[str] = Counter()
    for line in lines.splitlines():
        fields = line.split("|", 9)
        if len(fields) < 10:
            continue
        step, main = STEP_ROW.fullmatch(fields[0]), MAIN_ROW.fullmatch(fields[0])
        token = tokens.get((step or main or [""] * 2)[1], "")
        if not token:
            continue
        memory[token] = max(memory[token], size(fields[5]))
        if main and is_name_of(fields[9], token):
            mains.setdefault(token, []).append((main[2] or "", row_facts(fields, logins)))
    return {token: joined(rows, memory[token], array=asked[token].array) for token, rows in mains.items()}


def row_facts(fields: Sequence[str], logins: Mapping[str, str]) -> Facts:
    """Return what one line of sacct says."""
    state, _, by = fields[1].partition(" by ")
    code, _, signal = fields[2].partition(":")
    return Facts(
        state=state.strip(),
        reason="" if fields[8] in ("None", "") else fields[8],
        by=logins.get(by, by),
        code=int(code) if code.isdigit() else 0,
        signal=int(signal) if signal.isdigit() else 0,
        seconds=int(fields[3]) if fields[3].isdigit() else 0,
        nodes="" if fields[7] == "None assigned" else fields[7],
        limit=int(fields[6]) * 60 if fields[6].isdigit() else 0,
        cpu_seconds=seconds(fields[4]),
        source="accounting",
    )


def joined(rows: Sequence[tuple[str, Facts]], memory: int, *, array: bool) -> Facts:
    """Return the facts of a whole job: of an array, of the element that ended worst, with all of them counted."""
    states: Counter[str] = Counter()
    for indexes, facts in rows:
        states[facts.state] += counted(indexes) if indexes else 1
    word = leading(states)
    worst = max((facts for _, facts in rows if facts.state == word), key=lambda facts: (facts.code, facts.signal))
    if not array:
        return replace(worst, memory=memory)
    return replace(
        worst,
        memory=memory,
        seconds=max(facts.seconds for _, facts in rows),
        cpu_seconds=sum(facts.cpu_seconds for _, facts in rows),
        elements=dict(states),
    )


def record_of(lines: str) -> Record | None:
    """Return the exit record that lines of `index code` come to, None where there is none."""
    codes = [int(match[1]) for match in re.finditer(r"^\d+ (\d{1,3})$", lines, re.MULTILINE)]
    if not codes:
        return None
    return Record(max(codes), len(codes), sum(code != 0 for code in codes))


def seen(found: Sequence[Item], asked: Sequence[Asked]) -> dict[str, Seen]:
    """Return what a look saw of each job, by token."""
    by_token = {one.token: one for one in asked}
    texts: dict[str, str] = {}
    tagged: dict[tuple[str, str], Item] = {}
    for item in found:
        if len(item.words) == 1:
            texts[item.words[0]] = texts.get(item.words[0], "") + item.text + "\n"
        else:
            tagged[item.words[0], item.words[1]] = item
    logins = {words[1]: item.text for words, item in tagged.items() if words[0] == "login" and item.text}
    queue = queue_facts(texts.get("queue", ""), by_token)
    accounts = accounting_facts(texts.get("accounting", ""), by_token, logins)
    problem = sentence(texts["failed"], 120) if "failed" in texts else "ok"
    result = {}
    for token, one in by_token.items():
        record_item = tagged.get(("record", token))
        record = record_of(record_item.text) if record_item else None
        facts, accounting = chosen(queue.get(token), accounts.get(token), problem)
        count = tagged.get(("elements", token))
        if count is not None and count.text.isdigit():
            facts, record, accounting = whole(facts, record, accounting, int(count.text))
        out, out_at, more_out = piece(tagged.get(("out", token)), one.out)
        err, err_at, more_err = piece(tagged.get(("err", token)), one.err)
        result[token] = Seen(facts, record, accounting, out, err, out_at, err_at, more_out or more_err)
    return result


def whole(
    facts: Facts | None, record: Record | None, accounting: str, count: int
) -> tuple[Facts | None, Record | None, str]:
    """Return what is known of a whole array: nothing is certain of it as long as some of its elements are missing."""
    # The queue forgets elements that have ended, so its word for an end counts no more than accounting's.
    if facts is not None and facts.state in ENDED and (known := sum(facts.elements.values())) < count:
        facts, accounting = None, f"it knows {known} of {count} elements"
    if record is not None and record.elements < count:
        record = None
    return facts, record, accounting


def chosen(queue: Facts | None, account: Facts | None, problem: str) -> tuple[Facts | None, str]:
    """Return the facts that count, and what there is to say of accounting: the queue knows best what goes on."""
    if queue is not None and queue.state not in ENDED:
        return queue, "ok"
    if account is not None and account.state in ENDED:
        # Accounting keeps why a job waited; why it ended at once, the queue says.
        reason = queue.reason if queue is not None else account.reason
        return replace(account, reason=reason), problem
    if queue is not None:
        return queue, problem if problem != "ok" else "it does not know yet that the job has ended"
    return account, problem


def origin(text: str) -> dict[str, object]:
    """Return where a job comes from, as it was stored beside it; nothing where that cannot be read."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def queued(item: Item) -> Queued:
    """Return a job of the queue: token, id, state and age are in front of where it comes from."""
    _, token, job_id, state, age = item.words
    return Queued(token, job_id, state, origin(item.text), int(age))


def piece(item: Item | None, known: int | None) -> tuple[bytes, int, bool]:
    """Return new output, where its end lies in the file, and whether there is more."""
    if item is None:
        return b"", known or 0, False
    at, whole = int(item.words[2]), int(item.words[3])
    new = base64.b64decode(item.body)
    end = at + len(new)
    if known is None and at:
        # It begins somewhere in a line.
        new = new.partition(b"\n")[2]
    return new, end, end < whole


def last_lines(item: Item | None) -> list[str]:
    """Return the last lines of a stream as they are shown."""
    text = base64.b64decode(item.body).decode("utf-8", "replace") if item else ""
    lines = text.split("\n")
    return [shown(line) for line in (lines[:-1] if lines[-1] == "" else lines)[-KEPT_LINES:]]


def shown(line: str) -> str:
    """Return a line without colours and other signs that do something to a terminal, cut where it is too long."""
    plain = re.sub(r"\x1b\[[0-9;?]*[ -/]*[@-~]", "", line.rstrip("\r"))
    plain = plain.rpartition("\r")[2]  # a progress bar: what stands there at the end
    return "".join(sign if sign.isprintable() or sign == "\t" else " " for sign in plain)[:LONGEST_LINE]
