"""One request, one forward: what a server is without batching, as FastAPI's tutorial would have it.

python tests/benchmarks/serving_baseline.py PACKAGE RUNTIME PORT event-loop|threads

The decoding, the preprocessing and the decisions are the product's own; only the batching is missing.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool

from domain_models.model_card import read_card
from domain_models.runtimes import Runtime, open_runtime
from pipelines.serving.contract import Prediction
from pipelines.steps.decisions import Decider
from pipelines.steps.score_files import prepare_bytes


def main() -> None:
    """Serve until killed."""
    package, runtime, port, how = Path(sys.argv[1]), Runtime(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    card = read_card(package)
    compute, decider = open_runtime(runtime, package, card), Decider.from_card(card)

    def predict(data: bytes) -> Prediction:
        image_id, pixels = prepare_bytes(data, card.preprocessing)
        (decided,) = decider.decide(compute(pixels[None]))
        return Prediction.of(image_id, decided, card.classes, "1")

    app = FastAPI()

    @app.post("/predict", response_model=None)
    async def route(request: Request) -> Any:
        data = await request.body()
        said = await run_in_threadpool(predict, data) if how == "threads" else predict(data)
        return Response(said.model_dump_json(), media_type="application/json")

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main()
