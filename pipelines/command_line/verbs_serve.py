"""``serve``: the champion behind HTTP, and keys for those who may ask it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from data_contracts.errors import BadInput
from pipelines.command_line.context import JsonFlag, progress_on_stderr, workspace_in_use
from pipelines.command_line.output import STDERR, emit
from pipelines.command_line.summaries_production import summarise_new_key, summarise_serving

_NEEDED = ("fastapi", "uvicorn", "litserve", "multipart", "prometheus_client")


def serve(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Where it listens; 0 takes a free one.")] = 8000,
    host: Annotated[
        str, typer.Option("--host", help="0.0.0.0 lets other machines in; asks for an API key first.")
    ] = "127.0.0.1",
    model: Annotated[
        str, typer.Option("--model", metavar="champion|candidate|VERSION", help="Which model; an alias is followed.")
    ] = "champion",
    runtime: Annotated[str, typer.Option(metavar="auto|torch|onnx|openvino|litert", help="What computes.")] = "auto",
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that compute.")] = 1,
    max_batch: Annotated[int, typer.Option(min=1, max=1024, help="Images computed at once.")] = 32,
    batch_wait_ms: Annotated[
        float, typer.Option(min=0, max=1000, help="How long a batch waits for more images.")
    ] = 2.0,
    timeout: Annotated[float, typer.Option(min=0.1, max=600, help="Seconds for one request.")] = 10.0,
    max_image_mb: Annotated[float, typer.Option(min=0.001, help="Of one image.")] = 20.0,
    max_request_mb: Annotated[float, typer.Option(min=0.001, help="Of one request.")] = 64.0,
    max_images: Annotated[int, typer.Option(min=1, max=1024, help="In one request.")] = 64,
    max_waiting: Annotated[int, typer.Option(min=1, help="Images under way; more are turned away.")] = 512,
    keys_file: Annotated[Path | None, typer.Option(metavar="FILE", help="API keys; see --new-key.")] = None,
    new_key: Annotated[
        str | None, typer.Option(metavar="NAME", help="Make a key, add its hash to --keys-file, and end.")
    ] = None,
    without_keys: Annotated[
        bool, typer.Option("--without-keys", help="Whoever reaches the port may ask, from other machines too.")
    ] = False,
    log_predictions: Annotated[
        bool,
        typer.Option("--log-predictions", help="Keep images that a person should look at; `queue` asks about them."),
    ] = False,
    log_automatic: Annotated[
        bool, typer.Option("--log-automatic", help="Keep those decided automatically as well, for the random audit.")
    ] = False,
    log_max_mb: Annotated[float, typer.Option(min=1, help="Of kept images together.")] = 2000.0,
    json_output: JsonFlag = False,
) -> None:
    """Serve the champion over HTTP until Ctrl-C; when the alias moves, the next model takes over without an error."""
    if new_key is not None:
        _make_key(keys_file, new_key, as_json=json_output)
        return
    if log_automatic and not log_predictions:
        raise BadInput("--log-automatic adds to --log-predictions.", remedy="Give both.")
    _require_extra()
    from pipelines.serving.options import MEGABYTE, Limits, ServeOptions
    from pipelines.serving.run import Serving
    from pipelines.serving.run import serve as run_server

    workspace = workspace_in_use().require()
    request_bytes = int(max_request_mb * MEGABYTE)
    limits = Limits(
        image_bytes=int(max_image_mb * MEGABYTE),
        request_bytes=request_bytes,
        images_per_request=max_images,
        waiting_images=max(max_waiting, max_images),
        held_bytes=8 * request_bytes,
        seconds=timeout,
    )
    options = ServeOptions(
        host=host,
        port=port,
        model=model,
        runtime=runtime,
        workers=workers,
        max_batch=max_batch,
        batch_wait_ms=batch_wait_ms,
        limits=limits,
        keys_file=keys_file,
        without_keys=without_keys,
        log_predictions=log_predictions,
        log_automatic=log_automatic,
        log_bytes=int(log_max_mb * MEGABYTE),
    )

    def tell(serving: Serving) -> None:
        emit({"workspace": str(workspace.folder), **vars(serving)}, summarise_serving, as_json=json_output)

    run_server(workspace, options, tell, progress_on_stderr())
    STDERR.print("Stopped: every request that had arrived was answered.")


def _make_key(file: Path | None, name: str, *, as_json: bool) -> None:
    from pipelines.serving.keys import add_key

    if file is None:
        raise BadInput("--new-key needs a file for the key's hash.", remedy="Name it with --keys-file.")
    report = {"name": name, "key": add_key(file, name), "keys_file": str(file)}
    emit(report, summarise_new_key, as_json=as_json)


def _require_extra() -> None:
    from importlib.util import find_spec

    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise BadInput(
            f"The server's packages are not installed ({', '.join(missing)}).",
            remedy="Run `pip install 'tailsight[serve]'`.",
        )
