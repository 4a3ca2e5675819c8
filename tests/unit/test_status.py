from __future__ import annotations

from scripts.commands.status import broken_dags, summary
from scripts.errors import KitError, Problems

TRACE = """Traceback (most recent call last):
  File "<frozen importlib._bootstrap>", line 488, in _call_with_frames_removed
  File "/opt/airflow/dags/mine/broken.py", line 3, in <module>
    x = undefined_name
        ^^^^^^^^^^^^^^
NameError: name 'undefined_name' is not defined
"""
SYNTAX = """  File "/opt/airflow/dags/mine/typo.py", line 7
    def x(
         ^
SyntaxError: '(' was never closed
"""


def test_broken_dag_is_told_with_file_line_and_reason() -> None:
    assert broken_dags([["mine/broken.py", TRACE], ["mine/typo.py", SYNTAX]]) == [
        "dags/mine/broken.py line 3: NameError: name 'undefined_name' is not defined; "
        "mend the file, it is read again within seconds.",
        "dags/mine/typo.py line 7: SyntaxError: '(' was never closed; mend the file, it is read again within seconds.",
    ]


def test_reason_of_more_than_one_line_is_told_whole() -> None:
    trace = """Traceback (most recent call last):
  File "/opt/airflow/dags/mine/wrong.py", line 5, in <module>
    BashOperator(task_id="t1", bash_command="w", to="me")
  File "/opt/airflow/operator.py", line 1, in apply_defaults
    result = func(self, **kwargs)
TypeError: Invalid arguments were passed to BashOperator (task_id: t1). Invalid arguments were:
**kwargs: {'to': 'me'}
"""

    assert broken_dags([["mine/wrong.py", trace]]) == [
        "dags/mine/wrong.py line 5: TypeError: Invalid arguments were passed to BashOperator (task_id: t1). "
        "Invalid arguments were: **kwargs: {'to': 'me'}; mend the file, it is read again within seconds."
    ]


def test_trace_without_a_place_names_the_file() -> None:
    assert broken_dags([["mine/slow.py", "DagBag import timeout"]]) == [
        "dags/mine/slow.py: DagBag import timeout; mend the file, it is read again within seconds."
    ]


def test_file_with_many_mistakes_is_one_line() -> None:
    problems = [KitError(f"secrets.yaml line {number}", "is wrong", "mend it") for number in range(1, 4)]

    assert summary(Problems(problems[:2])) == (
        "secrets.yaml line 1: is wrong; mend it.\nsecrets.yaml line 2: is wrong; mend it."
    )
    assert summary(Problems(problems)) == (
        "secrets.yaml: 3 entries are to be filled in or mended; see `make connections CHECK=yes`."
    )
