"""Tasks of ours in the form of decorated functions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.decorator import DecoratedOperator, TaskDecorator, determine_kwargs, task_decorator_factory
from airflow.sdk.exceptions import AirflowFailException

from windrose.operators.slurm import SlurmOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class SlurmDecoratedOperator(DecoratedOperator, SlurmOperator):
    """Runs what a function returns, as a job on a Slurm cluster."""

    template_fields: Sequence[str] = (*DecoratedOperator.template_fields, *SlurmOperator.template_fields)
    template_fields_renderers = {  # noqa: RUF012 - Airflow's
        **DecoratedOperator.template_fields_renderers,
        **SlurmOperator.template_fields_renderers,
    }
    custom_operator_name = "@slurm_task"
    overwrite_rtif_after_execution = True  # the page shows the command that the function returned

    def __init__(
        self,
        *,
        python_callable: Callable[..., str],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,  # noqa: ANN401 - those of SlurmOperator
    ) -> None:
        super().__init__(python_callable=python_callable, op_args=op_args, op_kwargs=op_kwargs, **kwargs)

    def program(self, context: Context) -> tuple[str, str]:
        """Ask the function what to run; it is called when a job is submitted, and not when one is found again."""
        arguments = determine_kwargs(self.python_callable, self.op_args, {**context, **self.op_kwargs})
        text = self.python_callable(*self.op_args, **arguments)
        if not isinstance(text, str) or not text.strip():
            name = getattr(self.python_callable, "__name__", "the function")
            raise AirflowFailException(f"{name} returned {text!r}; return a command, or a script that begins with #!.")
        # What it returns is no template: a value that it puts in is not evaluated.
        self.command, self.script = ("", text) if text.startswith("#!") else (text, "")
        return self.command, self.script


def slurm_task(python_callable: Callable[..., str] | None = None, **kwargs: Any) -> TaskDecorator:  # noqa: ANN401 - those of SlurmOperator
    """Turn a function into a task that runs a job on a Slurm cluster; it returns the command, or a script with `#!`.

        @slurm_task(platform="hpc-lumi", time="1:00:00", gpus=1)
        def train(rate: float) -> str:
            return f"python train.py --rate {rate}"

        train.expand(rate=[0.1, 0.01])

    :param kwargs: whatever SlurmOperator takes
    """
    return task_decorator_factory(
        python_callable=python_callable,
        multiple_outputs=False,  # a function that returns a text; its task returns the facts of the job
        decorated_operator_class=SlurmDecoratedOperator,
        **kwargs,
    )
