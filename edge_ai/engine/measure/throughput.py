"""Inferences a second with several streams at once: the task ``throughput`` of a measured process."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from edge_ai.engine.errors import EngineError
from edge_ai.engine.measure.loaded import (
    NS_PER_S,
    Feed,
    Say,
    StepError,
    Task,
    import_runtime,
    load_feeds,
    load_model,
    round_and_round,
)
from edge_ai.engine.runtime.base import Session


def measure_throughput(task: Task, say: Say) -> dict[str, object]:
    """Count the inferences of streams that never pause, for each number of streams that is asked for.

    The streams share one session where the runtime allows that.
    """
    feeds = load_feeds(task)
    import_runtime(task)
    say("load")
    sessions = [load_model(task)]
    counted: list[dict[str, object]] = []
    for streams in task["streams"]:
        while len(sessions) < streams:
            sessions.append(sessions[0] if sessions[0].concurrent else load_model(task))
        say("measure")
        counted.append({"streams": streams} | _count(sessions[:streams], feeds, int(task["seconds"] * NS_PER_S)))
    return {"counted": counted}


def _count(sessions: Sequence[Session], feeds: list[Feed], duration_ns: int) -> dict[str, object]:
    """Run one stream for each session."""
    streams = len(sessions)
    counts, spent_ns = [0] * streams, [1] * streams
    failures: list[Exception] = []
    barrier = threading.Barrier(streams)

    def stream(number: int) -> None:
        run = round_and_round(sessions[number], feeds, first=number)
        try:
            run()
        except Exception as error:
            failures.append(error)
        barrier.wait()
        if failures:
            return
        begin_ns = time.perf_counter_ns()
        end_ns, now_ns, count = begin_ns + duration_ns, begin_ns, 0
        try:
            while now_ns < end_ns:
                run()
                now_ns = time.perf_counter_ns()
                count += 1
        except Exception as error:
            failures.append(error)
            return
        counts[number], spent_ns[number] = count, now_ns - begin_ns

    threads = [threading.Thread(target=stream, args=(number,), daemon=True) for number in range(streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0] if isinstance(failures[0], EngineError) else StepError("run", failures[0])
    rate = sum(count / (ns / NS_PER_S) for count, ns in zip(counts, spent_ns, strict=True))
    return {"runs": sum(counts), "runs_per_s": rate, "seconds": max(spent_ns) / NS_PER_S}
