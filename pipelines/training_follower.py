"""``python -m pipelines.training_follower``: one of the processes that ``tailsight train --processes N`` starts."""

from __future__ import annotations

import sys

from pipelines.training_processes import follow_lead

if __name__ == "__main__":
    sys.exit(0 if follow_lead() else 1)
