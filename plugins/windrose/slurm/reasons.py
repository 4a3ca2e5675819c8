"""Why a job waits, in words: what passes by itself, and what nobody but the job's owner or the site can change."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    """A family of Slurm's pending reasons."""

    pattern: re.Pattern[str]
    says: str
    mend: str = ""  # what has to be changed, where the job cannot start as it is


def _reason(pattern: str, says: str, mend: str = "") -> Reason:
    return Reason(re.compile(pattern), says, mend)


_LESS = "ask for less"
# The first that fits counts. From https://slurm.schedmd.com/job_reason_codes.html of 24.11, and what squeue adds.
REASONS = (
    _reason("None|Priority|Resources|Cleaning|Prolog|SchedDefer|FedJobLock", ""),
    _reason("BeginTime", "its begin time has not come"),
    _reason("Dependency", "it waits for another job"),
    _reason("JobArrayTaskLimit", "as many elements of its array run as may at a time"),
    _reason("Licenses", "it waits for a licence"),
    _reason("Reservation", "it waits for its reservation to begin"),
    _reason("DependencyNeverSatisfied", "the job it depends on did not end as asked", "change `dependency=`"),
    _reason(
        "PartitionTimeLimit",
        "its time limit is longer than its partition allows",
        "lower `time=`, or take another `partition=`",
    ),
    _reason(
        "PartitionNodeLimit",
        "its partition does not allow so many nodes, or they are down",
        "change `nodes=` or `partition=`",
    ),
    _reason(
        "PartitionDown|PartitionInactive",
        "its partition is closed",
        "take another `partition=`, or ask the site when it opens",
    ),
    _reason("PartitionConfig", "it breaks a limit of its partition", f"{_LESS}, or take another `partition=`"),
    _reason(
        "BadConstraints", "no node is as it asks for", "change `constraint=`, `cpus=`, `memory=`, `gpus=` or `nodes=`"
    ),
    _reason("InvalidAccount|AccountNotAllowed", "its account may not run there", "check `account=` and `partition=`"),
    _reason("InvalidQOS|QOSNotAllowed", "its QOS may not be used there", "check `qos=`, `account=` and `partition=`"),
    _reason("ReservationDeleted|ReservationInvalid", "its reservation is gone", "change `reservation=`"),
    _reason("JobHeldUser", "it is held by its owner", "release it with `scontrol release` on the cluster"),
    _reason("JobHeldAdmin", "the site holds it", "ask the site's support"),
    _reason("JobHoldMaxRequeue", "it was started too often in vain and is held", "look at its errors, then cancel it"),
    _reason(".*requeued held.*", "it could not be started and is held", "ask the site's support, or cancel it"),
    _reason(
        r".*MaxWallDurationPerJobLimit",
        "its time limit is longer than it may be",
        "lower `time=`, or take another `qos=`",
    ),
    _reason(r"(Assoc|QOS)Max\w*MinutesPerJob\w*", "it asks for too much for too long", f"{_LESS}, or lower `time=`"),
    _reason(r"(Assoc|QOS)Max\w*Per(Job|Node)\w*|MaxMemPerLimit", "it asks for more than one job may have", f"{_LESS}"),
    _reason(r"QOSMin\w*", "it asks for less than its QOS is for", "ask for more, or take another `qos=`"),
    _reason(r"DeadLine", "it cannot be done before its deadline", "set a later --deadline, or lower `time=`"),
    _reason(
        r"(Assoc|QOS)Grp\w*Minutes(Limit)?(?<!RunMinutes)(?<!RunMinutesLimit)",
        "the budget is used up",
        "ask for more, or take another `account=`",
    ),
    _reason(
        r"QOSUsageThreshold|AssociationTimeLimit|QOSTimeLimit",
        "the budget is used up",
        "take another `account=` or `qos=`",
    ),
    _reason(r"(Assoc|QOS)Grp\w*", "its project has as much running as it may at a time"),
    _reason(
        r"AssocMaxJobsLimit|QOSMaxJobsPerUserLimit|MaxJobsPerAccount|\w*JobLimit", "as many jobs run as may at a time"
    ),
    _reason(r"\w*SubmitJob\w*", "as many jobs wait as may at a time"),
    _reason(
        r"QOSMax\w*PerUser\w*|Max\w*PerAccount",
        "others of your jobs have what it asks for, or it asks for more than all of them may have",
    ),
    _reason(r"(Association|QOS)ResourceLimit|AccountingPolicy", "a limit of its account or QOS is reached"),
    _reason(
        r"ReqNodeNotAvail, ?Reserved for maintenance.*",
        "its nodes are reserved for maintenance, and it would not end before",
    ),
    _reason(r"ReqNodeNotAvail.*", "a node that it needs is down, drained or reserved"),
    _reason(r"NodeDown|FrontEndDown", "a node that it needs is down"),
    _reason(
        r"Nodes required for job are DOWN, DRAINED or reserved.*",
        "the nodes that it needs are down, drained or reserved for others",
    ),
    _reason(r"BurstBuffer\w*", "it waits for its burst buffer"),
)


def find(reason: str) -> Reason | None:
    """Return what is known of a reason."""
    text = reason.strip().strip("()").replace("_", " ") if " " not in reason else reason.strip().strip("()")
    return next((known for known in REASONS if known.pattern.fullmatch(text)), None)


def explained(reason: str) -> str:
    """Return Slurm's word for a reason, and what it means."""
    known = find(reason)
    return f"{reason}: {known.says}" if known is not None and known.says else reason


def never_starts(reason: str) -> str:
    """Return why a job with this reason cannot start as it is, and what to change; '' where it can."""
    known = find(reason)
    return f"{known.says}; {known.mend}" if known is not None and known.mend else ""


def mend_of(reason: str) -> str:
    """Return what to change where a reason does not pass by itself."""
    known = find(reason)
    return known.mend if known is not None else ""
