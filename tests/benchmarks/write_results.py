"""Write RESULTS.md from the files in results/, and from nothing else.

python tests/benchmarks/write_results.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from accuracy_tables import accuracy, attention, loop, retrain
from compression_rows import compression
from label_tables import label_noise, million, selection, triage, unlabelled
from machine import in_words
from speed_tables import one_table, read, scoring, serving, small_batch
from training_tables import number_format_section, training_section

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"


def main() -> None:
    """Write the tables of what was measured."""
    parts = ["# Results", "", "Made by `python tests/benchmarks/write_results.py` from the files in `results/`."]
    parts += ["Brackets: 95% bootstrap intervals, whole groups drawn. Splits are by group where the set has one.", ""]
    for title, command, lines in (
        accuracy(RESULTS),
        loop(RESULTS),
        retrain(RESULTS),
        selection(RESULTS),
        label_noise(RESULTS),
        triage(RESULTS),
        million(RESULTS),
        one_table(RESULTS),
        scoring(RESULTS),
        small_batch(RESULTS),
        serving(RESULTS),
        compression(RESULTS),
        training_section(read(RESULTS, "training-speed.json")),
        number_format_section(read(RESULTS, "number-format-*.json")),
        unlabelled(RESULTS),
        attention(RESULTS),
    ):
        if lines:
            parts += [f"## {title}", "", f"`{command}`", "", *lines, ""]
    parts += ["Machines: " + "; ".join(_machines()) + ".", ""]
    (HERE / "RESULTS.md").write_text("\n".join(parts))


def _machines() -> list[str]:
    """Each machine and, where there are several, whose results it gave."""
    kinds: dict[str, set[str]] = {}
    for path in sorted(RESULTS.glob("*.json")):
        found = json.loads(path.read_text()).get("machine")
        if found:
            kinds.setdefault(in_words(found), set()).add(re.split(r"-(?:split|seed)?\d|\.", path.name)[0])
    if len(kinds) == 1:
        return list(kinds)
    return [f"{name}: {', '.join(sorted(of))}" for name, of in kinds.items()]


if __name__ == "__main__":
    main()
