"""Run a job on a Slurm cluster as a task: exactly once, without a worker's slot while it waits and runs.

    SlurmOperator(task_id="train", platform="hpc-lumi", command="python train.py", time="2:00:00", gpus=1,
                  inputs=["data/set/*.csv"], outputs={"model.bin": "data/models/"})

What is not said (account, partition, ...) comes from the platform in `secrets.yaml`. docs/hpc.md tells the rest.
"""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from time import time as now_in_seconds
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator, Variable, conf
from airflow.sdk.exceptions import AirflowFailException, AirflowTaskTimeout, TaskDeferred

from windrose.data_folder import data_folder
from windrose.slurm import intent as intents
from windrose.slurm import job_values, refusals, result, script_files, staging, submitting
from windrose.slurm import script as batch_script
from windrose.slurm.intent import Intent, Step
from windrose.slurm.locks import NoSlot, submit_slot
from windrose.slurm.model import Cluster, ClusterError, Job, Platform, Refused, Submitted
from windrose.slurm.resources import Number, Resources
from windrose.slurm.submitting import Later
from windrose.slurm.task_record import TaskRecord

if TYPE_CHECKING:
    from airflow.sdk import Context

    from windrose.hooks.slurm import SlurmHook

INSTALLATION = "windrose_installation"
WORK = "work"  # in the job's folder: where it runs, and where its inputs and outputs are
KILL_SECONDS = 4.5  # 5 s after its SIGTERM a task gets SIGKILL
RESOURCES = tuple(field.name for field in fields(Resources))
AROUND = ("arguments", "workdir", "modules", "preamble", "container", "environment", "extra_directives")
Files = str | Sequence[Any] | Mapping[str, str]
Texts = str | Sequence[str]


class SlurmOperator(BaseOperator):
    """Submit a job, let go of the slot, and end as the job ends; a kill of the task cancels the job.

    A retry goes on with the job that an earlier try submitted, and so does the task after any part of the stack was
    killed. Clearing the task cancels its job, if there is one, and submits a new one. A job that failed is not run
    again by itself: only the states in `retry_states` are, as often as `retries` says.

    Returns a dict: `job_id`, `state`, `exit_code`, `signal`, `seconds`, `nodes`, `cpu_seconds`, `memory` (bytes),
    `platform`, `name`, `folder`, `log`, `inputs`, `outputs`, `elements` (of an array), and `result`: the last line of
    the job's standard output, as JSON where it is JSON.

    :param platform: id of the platform (templated; so are all parameters down to `timeout`)
    :param command: what a login shell runs there; or one of
    :param script: a whole script, with its `#!` line; or
    :param script_file: name of one, beside the DAG or below dags/ or data/; templates in it are rendered
    :param account: project that pays; the platform's by default, as are partition, preamble and environment
    :param partition: queue
    :param qos: quality of service
    :param time: limit: minutes, `HH:MM:SS`, `D-HH:MM:SS`, or a timedelta
    :param nodes: how many, or a range such as `2-4`
    :param tasks: how many processes in all, or
    :param tasks_per_node: on each node
    :param cpus: for each of these processes
    :param memory: on each node, such as `16G`; or
    :param memory_per_cpu: for each CPU, or
    :param memory_per_gpu: for each GPU
    :param gpus: in all: a number, or type and number such as `a100:2`; or
    :param gpus_per_node: on each node
    :param gres: other generic resources
    :param constraint: features of the nodes
    :param reservation: a reservation to run in
    :param array: indices such as `0-9%2`; each element runs the same script with its SLURM_ARRAY_TASK_ID
    :param dependency: on other jobs, such as `afterok:123`
    :param begin: not before: `16:00`, `now+1hour`, a date, or a timedelta from the submission on
    :param exclusive: whether nodes are shared with nobody
    :param requeue: whether Slurm may run it again by itself
    :param licenses: licences
    :param signal: a warning before the time is over, such as `B:USR1@120`
    :param arguments: words that the script gets
    :param workdir: folder on the cluster in which it runs; by default `work` in the job's own folder
    :param modules: names for `module load`
    :param preamble: lines of shell that come before it all
    :param container: an image, in which Apptainer runs the job; or a dict of `image`, `binds` and `options`
    :param environment: names and values; they are kept with the run and on the cluster, so no secrets
    :param extra_directives: any other `#SBATCH` directives: a dict, or a list of lines without `#SBATCH`
    :param inputs: files copied into the job's folder first (docs/hpc.md: addresses and globs)
    :param outputs: files copied from there after a good end
    :param timeout: the job is cancelled so long after its submission, waiting included: minutes or a timedelta;
        `execution_timeout` where only that is given
    :param log_mb: how much of its output the task's log takes; then only the last lines follow
    :param retry_states: bad ends after which a retry submits the job anew
    :param patience: how long to go on asking a cluster that does not answer, or does not let us in, before this try
        fails; no slot is held meanwhile
    """

    template_fields: Sequence[str] = (
        *("platform", "command", "script", "script_file", *RESOURCES, *AROUND),
        *("inputs", "outputs", "timeout"),
    )
    template_fields_renderers = {"command": "bash", "script": "bash", "environment": "json"}  # noqa: RUF012 - Airflow's
    # A command that ends in .sh is a command, not the name of a template.
    template_ext: Sequence[str] = ()
    ui_color = "#d5e8d4"

    def __init__(
        self,
        *,
        platform: str,
        command: str = "",
        script: str = "",
        script_file: str = "",
        account: str | None = None,
        partition: str | None = None,
        qos: str | None = None,
        time: int | float | str | timedelta | None = None,
        nodes: Number = None,
        tasks: Number = None,
        tasks_per_node: Number = None,
        cpus: Number = None,
        memory: Number = None,
        memory_per_cpu: Number = None,
        memory_per_gpu: Number = None,
        gpus: Number = None,
        gpus_per_node: Number = None,
        gres: str | None = None,
        constraint: str | None = None,
        reservation: str | None = None,
        array: Number = None,
        dependency: str | None = None,
        begin: str | timedelta | None = None,
        exclusive: bool | str | None = None,
        requeue: bool | str | None = None,
        licenses: str | None = None,
        signal: str | None = None,
        arguments: Texts = (),
        workdir: str = "",
        modules: Texts = (),
        preamble: str = "",
        container: str | Mapping[str, Any] = "",
        environment: Mapping[str, Any] | str | None = None,
        extra_directives: Texts | Mapping[str, Any] = (),
        inputs: Files = (),
        outputs: Files = (),
        timeout: timedelta | float | str | None = None,
        log_mb: float = 10,
        retry_states: Sequence[str] = result.RETRY_STATES,
        patience: timedelta = timedelta(days=1),
        # A retry costs nothing: it finds the job of the try before.
        retries: int = 3,
        retry_delay: timedelta | float = timedelta(seconds=30),
        **kwargs: Any,  # noqa: ANN401 - BaseOperator's
    ) -> None:
        super().__init__(retries=retries, retry_delay=retry_delay, **kwargs)
        self.platform = platform
        self.command, self.script, self.script_file = command, script, script_file
        self.account, self.partition, self.qos, self.time = account, partition, qos, time
        self.nodes, self.tasks, self.tasks_per_node, self.cpus = nodes, tasks, tasks_per_node, cpus
        self.memory, self.memory_per_cpu, self.memory_per_gpu = memory, memory_per_cpu, memory_per_gpu
        self.gpus, self.gpus_per_node, self.gres = gpus, gpus_per_node, gres
        self.constraint, self.reservation, self.licenses = constraint, reservation, licenses
        self.array, self.dependency, self.begin = array, dependency, begin
        self.exclusive, self.requeue, self.signal = exclusive, requeue, signal
        self.arguments, self.workdir = arguments, workdir
        self.modules, self.preamble, self.container = modules, preamble, container
        self.environment = environment
        self.extra_directives = extra_directives
        self.inputs, self.outputs = inputs, outputs
        self.timeout = timeout
        self.log_mb = log_mb
        self.retry_states = retry_states
        self.patience = patience

        self.record: TaskRecord | None = None
        self.limit = 0.0
        self.is_asked_to_stop = self.is_killed = False

    def execute(self, context: Context) -> None:
        """Submit the job, or find the one of an earlier try, and wait for its end without a slot."""
        self.pursue(context, since=now_in_seconds(), waits=0)

    def execute_again(self, context: Context, event: object, since: float, waits: int) -> None:
        """Go on after a wait for a cluster that did not answer."""
        self.pursue(context, since=since, waits=waits + 1)

    def pursue(self, context: Context, *, since: float, waits: int) -> None:
        """Bring it to a job that the cluster has, and defer until its end; or until the cluster answers."""
        if not self.platform:
            raise AirflowFailException("platform is empty; name one of secrets.yaml.")
        with self.in_hand(context) as record:
            later = self.take_up(record)
            if later is None and not record.known.job_id:
                try:
                    later = self.submit(context, record.known)
                except (NoSlot, ClusterError) as error:
                    later = Later(str(error))
            record.let_go()
            if later is not None:
                self.wait(later, since, waits)
            self.watch(record.known)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Tell how the job ended, and copy its outputs."""
        with self.in_hand(context) as record:
            # Without its record, which somebody may have deleted, the task still knows what it waited for.
            record.hold(record.earlier or intents.from_event(event, self.platform))
            outcome = result.outcome_of(event, record.known, self.retry_states)
            record.known.ended = "well" if outcome.is_good else "badly"
            record.write()
            if outcome.is_good:
                folder = posixpath.join(record.known.folder, WORK)
                return {**outcome.facts, "outputs": self.staged(staging.stage_out, self.outputs, folder)}
            if event["ended"] == "deadline":
                with suppress(ClusterError):  # the trigger has done so; it may not have got through
                    self.cancel(record.known)
            context["ti"].xcom_push("return_value", outcome.facts)
            raise RuntimeError(outcome.says) if outcome.may_retry else AirflowFailException(outcome.says)

    @contextmanager
    def in_hand(self, context: Context) -> Iterator[TaskRecord]:
        """Let go of the record however this ends, so that the next try can tell it from a killed process."""
        self.record = record = TaskRecord(context)
        try:
            yield record
        except TaskDeferred:
            raise
        except AirflowTaskTimeout:
            # Airflow tries again after that; by then the job must be gone.
            if record.is_open:
                self.cancel(record.known)
                record.known.ended = "badly"
            record.let_go()
            raise
        except Exception:  # whatever it was, it goes on its way
            with suppress(Exception):  # what has happened is to be told, not this
                record.let_go()
            raise
        else:
            record.let_go()

    def take_up(self, record: TaskRecord) -> Later | None:
        """Take this task's job in hand; return Later where one that is not wanted cannot be cancelled now."""
        earlier = record.earlier
        if earlier is not None and record.step is Step.REPLACE:
            what = earlier.job_id or earlier.name
            self.log.info("The task was cleared; cancelling its job %s on %s", what, earlier.platform)
            try:
                self.cancel(earlier)
            except ClusterError as error:
                return Later(str(error))
            except AirflowFailException as error:  # its platform is gone: nobody can be asked there any more
                self.log.warning("job %s is not cancelled: %s", what, error)
        if earlier is not None and record.step is Step.ATTACH:
            what = f"job {earlier.job_id}" if earlier.job_id else f"the submit of {earlier.name}"
            self.log.info("%s: going on with %s, where an earlier try has left it", earlier.platform, what)
            record.hold(earlier)
        else:
            record.begin(self.platform)
        return None

    def submit(self, context: Context, known: Intent) -> Later | None:
        """Copy the inputs and submit the job; return Later where the cluster does not answer."""
        platform = self.hook(known.platform).platform
        job = self.job(context, known, platform)
        with submit_slot(platform.id, platform.slots, tell=self.log.info):
            if self.inputs:
                folder = self.on_cluster(platform.id, lambda cluster: cluster.folder_of(known.token))
                self.staged(staging.stage_in, self.inputs, posixpath.join(folder, WORK))
            tell, is_stopped = self.log.warning, lambda: self.is_killed
            answer = self.on_cluster(
                platform.id, lambda cluster: submitting.submit(cluster, job, tell=tell, is_stopped=is_stopped)
            )
        if isinstance(answer, Later):
            return answer
        if isinstance(answer, Refused):
            known.ended = "badly"
            refusal = refusals.refusal(answer, platform.id)
            raise RuntimeError(refusal.says) if refusal.may_retry else AirflowFailException(refusal.says)
        self.note(answer, known)
        return None

    def note(self, answer: Submitted, known: Intent) -> None:
        """Remember which job it is; if the task was killed meanwhile, cancel it."""
        known.job_id, known.folder = answer.job_id, answer.folder
        known.deadline = now_in_seconds() + self.limit if self.limit else None
        words = "submitted" if answer.fresh else "found, submitted already:"
        self.log.info("%s: %s job %s (%s), in %s", known.platform, words, known.job_id, known.name, known.folder)
        if self.record is not None:
            self.record.show()
        if self.is_asked_to_stop:
            self.end_if_killed()
        if self.is_killed:
            raise submitting.Stopped(f"the task was killed while it submitted; job {known.job_id} is cancelled")

    def wait(self, later: Later, since: float, waits: int) -> NoReturn:
        """Let go of the slot until the cluster may answer."""
        from windrose.triggers.slurm_wait import SlurmWaitTrigger

        if now_in_seconds() - since > self.patience.total_seconds():
            raise RuntimeError(f"no job could be submitted for {self.patience}. {later.says}")
        seconds = submitting.deferred_pause(later, waits)
        self.log.warning("%s Asking again in %.0f s; no slot is held meanwhile.", later.says, seconds)
        known = (self.record.intent or self.record.earlier) if self.record else None
        platform, token = (known.platform, known.token) if known else (self.platform, "")
        trigger = SlurmWaitTrigger(platform, token, seconds)
        self.defer(trigger=trigger, method_name="execute_again", kwargs={"since": since, "waits": waits})

    def watch(self, known: Intent) -> NoReturn:
        """Let go of the slot until the job has ended."""
        from windrose.triggers.slurm import SlurmTrigger

        names = ("platform", "token", "job_id", "folder", "name", "array", "deadline")
        what = {name: getattr(known, name) for name in names}
        self.defer(trigger=SlurmTrigger(**what, log_mb=self.log_mb), method_name="execute_complete")

    def job(self, context: Context, known: Intent, platform: Platform) -> Job:
        """Return what is submitted; what cannot be meant is told before anything is done."""
        command, text = self.program(context)
        try:
            work = job_values.work_of(self, command, text)
            asked = Resources(**{name: getattr(self, name) for name in RESOURCES})
            whole = batch_script.render(
                known.name, work, platform=platform, resources=asked, extra_directives=self.extra_directives
            )
            limit = self.timeout if self.timeout not in (None, "") else self.execution_timeout
            self.limit = job_values.seconds_of(limit, "timeout")
            payload = batch_script.normal(text)
        except batch_script.ScriptError as error:
            raise AirflowFailException(str(error)) from None
        known.array = bool(batch_script.array_of(whole))
        names = ("dag_id", "run_id", "task_id", "map_index")
        origin = {"installation": Variable.get(INSTALLATION, default="")}
        return Job(known.token, known.name, whole, payload, {**origin, **{n: getattr(context["ti"], n) for n in names}})

    def program(self, context: Context) -> tuple[str, str]:
        """Return the command, or the whole script."""
        given = [name for name in ("command", "script", "script_file") if str(getattr(self, name) or "").strip()]
        if len(given) != 1:
            what = " and ".join(given) or "nothing to run"
            raise AirflowFailException(f"{what} is given; write one of command, script and script_file.")
        if given != ["script_file"]:
            return self.command or "", self.script or ""
        folder, dags = Path(context["dag"].fileloc).parent, Path(conf.get("core", "dags_folder"))
        try:
            text = script_files.read_script(self.script_file, folder, dags, data_folder())
            return "", script_files.filled_in(self.script_file, lambda: self.render_template(text, context))
        except script_files.NoScript as error:
            raise AirflowFailException(str(error)) from None

    def staged(self, copy: Callable[..., Any], files: Files, folder: str) -> Any:  # noqa: ANN401 - rows
        """Copy files to or from the job's folder."""
        if not files or self.record is None:
            return []
        try:
            return copy(self.record.known.platform, files, folder, self.log.info)
        except staging.StagingError as error:
            raise AirflowFailException(str(error)) from None
        except staging.Interrupted as error:
            raise RuntimeError(str(error)) from None

    def hook(self, platform: str) -> SlurmHook:
        """Return what knows the platform."""
        from windrose.hooks.slurm import SlurmHook

        return SlurmHook(platform)

    def on_cluster(self, platform: str, action: Callable[[Cluster], Awaitable[Any]]) -> Any:  # noqa: ANN401 - the action's
        """Do something on a cluster."""
        cluster = self.hook(platform).cluster()
        return submitting.beside(lambda: asyncio.run(submitting.using(cluster, action)))

    def cancel(self, known: Intent) -> None:
        """Cancel a job, whether or not its id is known."""
        self.on_cluster(known.platform, lambda cluster: cluster.cancel(known.token, known.job_id))

    def on_kill(self) -> None:
        """Cancel the job if the task was ended; when only its process is being stopped, the job goes on.

        This runs in a signal handler, in the midst of anything: hence the thread and the limit. Where it comes to
        nothing, the main thread looks again as soon as the job is submitted, and after that the hourly sweep does.
        """
        if self.record is None or not self.record.is_open:
            return
        self.is_asked_to_stop = True
        with suppress(Exception):
            submitting.beside(self.end_if_killed, KILL_SECONDS)

    def end_if_killed(self) -> None:
        """Cancel the job if a person has ended the task."""
        if self.record is not None and self.record.is_ended_by_somebody():
            self.is_killed = True
            self.cancel(self.record.known)
