"""``python -m pipelines.training_follower``: one of the processes that ``tailsight train --processes N`` starts."""

from __future__ import annotations

import sys

from pipelines.garbage import end_without_search, search_seldom

if __name__ == "__main__":
    search_seldom()
    from pipelines.training_processes import follow_lead

    followed = follow_lead()
    end_without_search()
    sys.exit(0 if followed else 1)
