"""The rows of RESULTS.md about smaller models, from results/compression-SET.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

COMMAND = "python tests/benchmarks/measure_compression.py SET"
COLUMNS = (
    "set",
    "champion",
    "chosen by `compress`",
    "images a second, champion",
    "chosen",
    "times as many",
    "macro-F1 on test, champion",
    "chosen",
    "difference, points",
)


def compression(results: Path) -> tuple[str, str, list[str]]:
    """Title, command and lines."""
    found: list[dict[str, Any]] = [json.loads(path.read_text()) for path in sorted(results.glob("compression-*.json"))]
    rows = [_row(one) for one in found if one["chosen"]]
    lines = ["| " + " | ".join(cells) + " |" for cells in (COLUMNS, ["---"] * len(COLUMNS), *rows)] if rows else []
    lines += [line for one in found if not one["chosen"] for line in ("", f"{one['set']}: {one['sentence']}")]
    if rows:
        lines += [
            "",
            "Computing alone, prepared pixels to logits, all cores: medians, smallest and largest. Test images",
        ]
        lines[-1] += " chose nothing; the interval of the difference is paired."
    lines += [line for one in found if "remark" in one for line in ("", f"{one['set']}: {one['remark']}")]
    return "Smaller models against a champion of preset `best`", COMMAND, lines


def _row(one: dict[str, Any]) -> list[str]:
    champion, test, rates = one["champion"], one["test"], one["images_per_second"]
    low, high = test["difference_ci"]
    return [
        one["set"],
        f"{champion['backbone']}, {champion['width']}×{champion['height']} px, {champion['epochs']} epochs",
        one["chosen"],
        *("{median:.0f} ({min:.0f} to {max:.0f})".format(**rates[who]) for who in ("champion", "chosen")),
        "{median:.2f} ({min:.2f} to {max:.2f})".format(**rates["times"]),
        *(f"{test[who]['macro_f1']:.3f}" for who in ("champion", "chosen")),
        f"{100 * test['difference']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f}), {test['n']} images",
    ]
