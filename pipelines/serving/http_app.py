"""The routes: typed, behind keys, within limits, and never an answer that is no JSON but for the metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from data_contracts.errors import TailsightError
from pipelines.serving.contract import (
    Health,
    ImageOutcome,
    ModelDescription,
    Prediction,
    Predictions,
    ProblemAnswer,
    Readiness,
    Said,
)
from pipelines.serving.keys import Keys
from pipelines.serving.measured import Measured
from pipelines.serving.problems import RequestProblem, problem_of, said_of
from pipelines.serving.service import Outcome, Service
from pipelines.serving.uploads import Upload, announced_bytes, read_uploads

_KEY, _BEARER = APIKeyHeader(name="X-API-Key", auto_error=False), HTTPBearer(auto_error=False)
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": ProblemAnswer, "description": why}
    for status, why in {
        400: "the request cannot be read",
        401: "no key, or not one of ours",
        408: "the request did not arrive in time",
        413: "too many bytes, pixels or images",
        422: "there is no image that can be decoded",
        500: "the model could not compute the image, or a defect of ours",
        503: "too much at once; come back after Retry-After seconds",
        504: "the answer took too long",
    }.items()
}


def make_app(service: Service, keys: Keys) -> FastAPI:
    """The application around a service.

    Args:
        service: answers.
        keys: who may ask; empty: everybody who reaches the port.
    """
    app = FastAPI(
        title="Tailsight",
        summary="One label per image, how sure it is, and whether a person should look.",
        version="1",
        docs_url=None,  # its page would be fetched from elsewhere
        redoc_url=None,
    )
    app.add_middleware(Measured, figures=service.figures)
    _tell_problems_as_json(app)
    _open_routes(app, service)
    _guarded_routes(app, service, [Depends(_guard(keys))])
    return app


def _open_routes(app: FastAPI, service: Service) -> None:
    @app.get("/health", response_model=Health, summary="The server is there")
    async def health() -> Response:
        return _json(Health())

    @app.get(
        "/ready",
        response_model=Readiness,
        responses={503: {"model": Readiness, "description": "no worker holds the model"}},
        summary="An image would be answered now",
    )
    async def ready() -> Response:
        readiness = service.readiness()
        return _json(readiness, 200 if readiness.ready else 503)


def _guarded_routes(app: FastAPI, service: Service, guards: list[Any]) -> None:
    @app.post(
        "/v1/predict",
        response_model=Prediction,
        responses=_PROBLEMS,
        dependencies=guards,
        openapi_extra=_takes("image", several=False),
        summary="Predict one image",
    )
    async def predict(request: Request) -> Response:
        async def answer(uploads: list[Upload]) -> Response:
            if len(uploads) > 1:
                raise RequestProblem(422, "There are several images.", remedy="Send them to /v1/predict-many.")
            _, (outcome,) = await service.outcomes(uploads)
            if isinstance(outcome, RequestProblem):
                raise outcome
            if isinstance(outcome, TailsightError):
                raise problem_of(outcome)
            return _json(outcome)

        return await _within_limits(request, service, answer)

    @app.post(
        "/v1/predict-many",
        response_model=Predictions,
        responses=_PROBLEMS,
        dependencies=guards,
        openapi_extra=_takes("images", several=True),
        summary="Predict several images; one that cannot be read fails no other",
    )
    async def predict_many(request: Request) -> Response:
        async def answer(uploads: list[Upload]) -> Response:
            version, found = await service.outcomes(uploads)
            outcomes = [_told(upload, one) for upload, one in zip(uploads, found, strict=True)]
            return _json(Predictions(model_version=version, outcomes=outcomes))

        return await _within_limits(request, service, answer)

    @app.get(
        "/v1/model",
        response_model=ModelDescription,
        responses={401: _PROBLEMS[401]},
        dependencies=guards,
        summary="The model that answers now",
    )
    async def model() -> Response:
        return _json(service.describe())

    @app.get("/metrics", dependencies=guards, summary="Figures for Prometheus", response_class=Response)
    async def metrics() -> Response:
        return Response(service.figures.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _within_limits(
    request: Request, service: Service, answer: Callable[[list[Upload]], Awaitable[Response]]
) -> Response:
    limits, arrived = service.options.limits, False
    try:
        async with asyncio.timeout(limits.seconds):
            with service.admission.holding(announced_bytes(request, limits)):
                uploads = await read_uploads(request, limits)
                arrived = True
                return await answer(uploads)
    except TimeoutError:
        status, what = (504, "The answer took") if arrived else (408, "The request needed")
        raise RequestProblem(
            status,
            f"{what} longer than {limits.seconds:g} seconds{'' if arrived else ' to arrive'}.",
            remedy="Send fewer images at once, or start the server with a larger --timeout.",
        ) from None
    except TailsightError as error:
        raise problem_of(error) from None


def _guard(keys: Keys) -> Callable[..., Awaitable[None]]:
    async def guard(
        key: Annotated[str | None, Depends(_KEY)],
        bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
    ) -> None:
        if keys and not keys.open_for(key or (bearer.credentials if bearer else None)):
            raise RequestProblem(
                401,
                "This server asks for an API key, and what was sent is none of its keys.",
                remedy="Send one in the header X-API-Key, or as Authorization: Bearer.",
            )

    return guard


def _told(upload: Upload, outcome: Outcome) -> ImageOutcome:
    if isinstance(outcome, Prediction):
        return ImageOutcome(name=upload.name, prediction=outcome, error=None)
    problem = outcome.problem if isinstance(outcome, RequestProblem) else said_of(outcome)
    return ImageOutcome(name=upload.name, prediction=None, error=problem)


def _takes(field: str, *, several: bool) -> dict[str, Any]:
    file = _BINARY["schema"]
    value = {"type": "array", "items": file} if several else file
    form = {"schema": {"type": "object", "required": [field], "properties": {field: value}}}
    raw = {} if several else {"application/octet-stream": _BINARY, "image/*": _BINARY}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": form, **raw}}}


def _json(said: Said, status: int = 200) -> Response:
    return Response(said.model_dump_json(), status, media_type="application/json")


def _tell_problems_as_json(app: FastAPI) -> None:
    async def refused(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestProblem)
        return Response(error.body, error.status, error.headers, "application/json")

    async def no_route(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        what = "There is nothing here." if error.status_code == 404 else f"{error.detail}."
        return await refused(request, RequestProblem(error.status_code, what, remedy="See /openapi.json."))

    async def gone(_request: Request, _error: Exception) -> Response:
        return Response(status_code=400)  # nobody reads it

    async def defect(request: Request, _error: Exception) -> Response:
        return await refused(
            request, RequestProblem(500, "A defect in Tailsight.", remedy="The server's log says more.")
        )

    app.add_exception_handler(RequestProblem, refused)
    app.add_exception_handler(HTTPException, no_route)
    app.add_exception_handler(ClientDisconnect, gone)
    app.add_exception_handler(Exception, defect)
