"""What the inputs and the output of a network's graph are called, whoever computes it."""

from __future__ import annotations

GRAPH_INPUT = "pixels"
"""uint8 [n, H, W, C], as :func:`domain_models.preprocessing.prepare` leaves them; n is free."""

NORMALISED_INPUT = "images"
"""The input of graphs from before: float32 [n, 3, H, W], see :func:`domain_models.preprocessing.normalise`."""

GRAPH_OUTPUT = "logits"
