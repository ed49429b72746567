"""Somebody who keeps a workspace busy: uploads, optimizations, benchmarks, cancellations, retries."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from edge_ai.sample import KERAS_MODEL
from tests.chaos.client import FINAL, Client

#: Jobs of one workspace that are not over yet.
MOST_AT_ONCE = 4
WIDTH = 32
PATHS = {"optimization": "optimization-jobs/", "benchmark": "benchmarks/"}


def small_model(seed: int) -> bytes:
    """Return a network of three dense layers whose weights are the seed's own."""
    chance = np.random.default_rng(seed)
    weights = [
        numpy_helper.from_array((chance.standard_normal((WIDTH, WIDTH)) / WIDTH**0.5).astype(np.float32), f"w{layer}")
        for layer in range(3)
    ]
    nodes = []
    last = "x"
    for layer in range(3):
        nodes.append(helper.make_node("MatMul", [last, f"w{layer}"], [f"m{layer}"]))
        nodes.append(helper.make_node("Tanh", [f"m{layer}"], [f"t{layer}"]))
        last = f"t{layer}"
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", WIDTH])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["batch", WIDTH])],
        weights,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(made.SerializeToString())


class Customer(threading.Thread):
    """One workspace's user.

    Parameters
    ----------
    tensorflow
        Also convert a Keras model, which takes a warm process and some seconds of TensorFlow.
    tell
        Takes a line for the log.
    """

    def __init__(self, name: str, client: Client, *, seed: int, tensorflow: bool, tell: Callable[[str], None]) -> None:
        super().__init__(name=name, daemon=True)
        self.acknowledged: list[str] = []
        self.trouble: BaseException | None = None
        self._client = client
        self._chance = random.Random(seed)  # noqa: S311 - reproducible, not secret
        self._seed = seed
        self._tensorflow = tensorflow
        self._tell = tell
        self._stop_asked = threading.Event()
        self._models: list[str] = []
        self._keras: str | None = None
        self._jobs: dict[str, str] = {}
        self._device = ""

    def stop(self) -> None:
        """Ask for nothing more."""
        self._stop_asked.set()

    def run(self) -> None:
        try:
            self._device = self._client.get("device-profiles/?page_size=200")["results"][0]["id"]
            self._upload()
            if self._tensorflow:
                self._keras = self._sent("models/", file="digits.keras", content=KERAS_MODEL.read_bytes())
                self._convert_keras()
            while not self._stop_asked.wait(self._chance.uniform(0.2, 0.8)):
                self._do_something()
        except BaseException as error:
            self.trouble = error
            self._tell(f"{self.name} gave up: {error!r}")

    def _do_something(self) -> None:
        active = self._active()
        actions: list[tuple[int, Callable[[], object]]] = [
            (1, lambda: self._cancel(active)),
            (1, self._retry),
            (6, lambda: None),
        ]
        if len(active) < MOST_AT_ONCE:
            actions += [(2, self._upload), (4, self._optimize), (4, self._benchmark)]
            if self._keras is not None:
                actions.append((1, self._convert_keras))
        weights = [weight for weight, _ in actions]
        self._chance.choices([action for _, action in actions], weights)[0]()

    def _upload(self) -> None:
        self._seed += 1
        self._models.append(self._sent("models/", file=f"small-{self._seed}.onnx", content=small_model(self._seed)))

    def _optimize(self) -> None:
        self._submit(
            "optimization",
            model=self._chance.choice(self._models),
            target_format="onnx",
            precision=self._chance.choice(["int8_dynamic", "fp16"]),
            options={"search": False},
        )

    def _convert_keras(self) -> None:
        self._submit("optimization", model=self._keras, target_format="tflite", precision="fp16")

    def _benchmark(self) -> None:
        self._submit(
            "benchmark",
            model=self._chance.choice(self._models),
            threads=1,
            warmup=1,
            min_seconds=0.2,
            max_seconds=self._chance.choice([0.3, 0.3, 3.0]),
        )

    def _submit(self, kind: str, **request: Any) -> None:
        if kind == "optimization":
            # A job that is answered from an earlier one has nothing that could be killed.
            request["fresh"] = True
        made = self._client.post(PATHS[kind], device_profile=self._device, **request)
        self._jobs[made["id"]] = kind
        self.acknowledged.append(made["id"])

    def _sent(self, path: str, *, file: str, content: bytes) -> str:
        made = self._client.upload(path, file, content, name=file)
        return str(made["id"])

    def _cancel(self, active: list[str]) -> None:
        if active:
            self._act(self._chance.choice(active), "cancel")

    def _retry(self) -> None:
        cancelled = [job for job in list(self._jobs)[-20:] if self._status(job) == "cancelled"]
        if cancelled:
            self._act(self._chance.choice(cancelled), "retry")

    def _act(self, job: str, verb: str) -> None:
        answer = self._client.ask("POST", f"{PATHS[self._jobs[job]]}{job}/{verb}/", {})
        # A conflict: it ended meanwhile, or the answer to the first request was lost.
        assert answer.status in {200, 409}, answer
        self._tell(f"{self.name} {verb} {job}: {answer.status}")

    def _status(self, job: str) -> str:
        return str(self._client.get(f"{PATHS[self._jobs[job]]}{job}/")["status"])

    def _active(self) -> list[str]:
        return [job for job in list(self._jobs)[-3 * MOST_AT_ONCE :] if self._status(job) not in FINAL]
