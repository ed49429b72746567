"""The run of chaos that CI has time for. ``python -m tests.chaos --minutes 10`` is the longer one."""

from __future__ import annotations

import secrets

import pytest

from tests.chaos.harness import run
from tests.studio import reachable_folder

SECONDS = 60


@pytest.mark.worker
@pytest.mark.timeout(1200)
def test_nothing_is_lost_and_nothing_done_twice_whatever_is_killed() -> None:
    with reachable_folder() as folder:
        report = run(folder, seed=secrets.randbelow(10_000), seconds=SECONDS, tensorflow=False)
    print(report.summary())
    log = "\n".join(report.log)
    assert not report.problems, f"{report.summary()}\n" + "\n".join(report.problems) + f"\n{log}"
    assert len(report.kills) >= 10 and len({item.kind for item in report.kills}) >= 8, report.summary()
    assert report.jobs["completed optimization"] and report.jobs["completed analysis"], report.summary()
