"""A training step's gradients as one CUDA graph: one launch instead of thousands, for which small networks wait."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .checkpoints import rng_state

Batch = Mapping[str, Tensor | None]
Compute = Callable[[Batch], dict[str, Tensor]]
"""A batch -> what goes into the log; leaves the gradients in the parameters."""

WARM_UP = 3  # steps before a capture, as torch.cuda.graph's documentation asks


@dataclass(frozen=True)
class _Captured:
    """A graph with the memory that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    batch: Batch
    log: dict[str, Tensor]
    gradients: list[tuple[nn.Parameter, Tensor | None]]


class StepGraphs:
    """Runs ``compute`` by a graph for each pattern of active losses; the first step of a pattern records it."""

    def __init__(self, compute: Compute, parameters: Sequence[nn.Parameter]) -> None:
        """Args: parameters: all whose gradients ``compute`` leaves."""
        self._compute, self._parameters = compute, parameters
        self._captured: dict[Hashable, _Captured] = {}

    def __call__(self, batch: Batch, pattern: Hashable) -> dict[str, Tensor]:
        """Compute the gradients of ``batch``.

        Args:
            batch: tensors on the GPU, of the same shapes each time.
            pattern: which losses are on, and whatever else decides which lines run.
        """
        if pattern not in self._captured:
            self._captured[pattern] = self._capture(batch)
        captured = self._captured[pattern]
        for key, value in batch.items():
            if value is not None:
                captured.batch[key].copy_(value)  # type: ignore[union-attr]
        for parameter, gradient in captured.gradients:
            parameter.grad = gradient
        captured.graph.replay()
        return captured.log

    def _capture(self, batch: Batch) -> _Captured:
        """Record the step on copies of ``batch``; the random numbers afterwards are as if nothing had run."""
        held = {key: None if value is None else value.clone() for key, value in batch.items()}
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with rng_state.preserved(), torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self._compute(held)
        graph = torch.cuda.CUDAGraph()
        # Other threads, such as the loader's, may allocate meanwhile.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode='thread_local'):
            log = self._compute(held)
        torch.cuda.current_stream().wait_stream(stream)
        return _Captured(graph, held, log, [(parameter, parameter.grad) for parameter in self._parameters])
