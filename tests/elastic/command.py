"""``ras-runner`` that knows the cloud in a folder: ``python -m tests.elastic.command ...``."""

from __future__ import annotations

from tests.elastic.cloud import TYPES

from ras_runner.cli import main
from ras_runner.fleet.inventory import GROUP_TYPES
from ras_runner.workers.registry import WORKER_TYPES

WORKER_TYPES.update(TYPES)
GROUP_TYPES["cloud_workers"] = "cloud"

if __name__ == "__main__":
    main()
