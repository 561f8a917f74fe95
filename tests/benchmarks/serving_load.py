"""Many clients at once, in processes of their own: each sends an image, waits for the answer, sends the next."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

PROCESSES = 4
WARM_UP_SECONDS = 3.0


@dataclass
class Load:
    """What the clients saw.

    ``answered`` counts all answers; ``seconds`` are of those that came once all clients were under way.
    """

    answered: int = 0
    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=dict)

    def add(self, other: Load) -> None:
        """Take over what other clients saw."""
        self.seconds += other.seconds
        self.answered += other.answered
        self.failures += other.failures
        for version, count in other.versions.items():
            self.versions[version] = self.versions.get(version, 0) + count


def run_clients(port: int, path: str, images: list[Path], *, clients: int, seconds: float) -> Load:
    """``clients`` connections that stay open, for so many seconds after some that are not counted."""
    processes = [
        subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    begin = time.time() + WARM_UP_SECONDS
    for number, process in enumerate(processes):
        share = clients // PROCESSES + (number < clients % PROCESSES)
        files = [str(image) for image in images[number::PROCESSES]]
        assert process.stdin is not None
        json.dump([port, path, files, share, begin, begin + seconds], process.stdin)
        process.stdin.close()
        process.stdin = None  # communicate would close it once more
    total = Load()
    for process in processes:
        said, _ = process.communicate()
        total.add(Load(**json.loads(said)))
    return total


def _clients(port: int, path: str, images: list[str], clients: int, begin: float, until: float) -> Load:
    bodies = [Path(image).read_bytes() for image in images]
    load = Load()

    async def all_of_them() -> None:
        await asyncio.gather(*(_client(port, path, bodies, number, begin, until, load) for number in range(clients)))

    asyncio.run(all_of_them())
    return load


async def _client(
    port: int, path: str, bodies: list[bytes], first: int, begin: float, until: float, load: Load
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    number = first
    while time.time() < until:
        body = bodies[number % len(bodies)]
        number += 1
        began = time.perf_counter()
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        try:
            status, content = await _answer(reader)
        except (OSError, EOFError, ValueError) as error:
            load.failures.append(type(error).__name__)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            continue
        if status != 200:
            load.failures.append(str(status))
            continue
        load.answered += 1
        if begin <= time.time() < until:
            load.seconds.append(time.perf_counter() - began)
        version = str(content.get("model_version"))
        load.versions[version] = load.versions.get(version, 0) + 1
    writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, Any]]:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    length = next(int(line.partition(":")[2]) for line in lines if line.lower().startswith("content-length:"))
    body = await reader.readexactly(length)
    return int(lines[0].split()[1]), json.loads(body)


if __name__ == "__main__":
    json.dump(asdict(_clients(*json.load(sys.stdin))), sys.stdout)
