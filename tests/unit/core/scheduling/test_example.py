from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[4] / "examples"


def test_the_capacity_example(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "capacity.py"), run_name="__main__")
    told = capsys.readouterr().out.splitlines()
    assert sum(" -> " in line for line in told) == 5
    assert told[-2].startswith("5 fit. The next one: 0/3 nodes are available: ")
    assert told[-1].endswith("or node b1 with 500m less cpu.")
