"""
The data folder of an embedded stack that does not run, as something to back up from and to restore into.

    python -m tests.data_folder FURNISHED GOLDEN

makes a backup of what `tests/furnish.py` has left, with the secrets in it. So tests/golden/installation-0.1.0 was made:

    git worktree add /tmp/old bea8817
    PYTHONPATH=/tmp/old .venv/bin/python -P tests/furnish.py /tmp/furnished >furniture.json
    mkdir tests/golden/installation-0.1.0 && mv furniture.json tests/golden/installation-0.1.0
    .venv/bin/python -m tests.data_folder /tmp/furnished tests/golden/installation-0.1.0
"""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from core.backup import back_up
from core.storage import LocalStorage, Storage
from tests.servers import RedisServer

SECRETS = "secrets.json"


@contextmanager
def stopped_stack(data_dir: Path) -> Iterator[tuple[str, Storage]]:
    """The address of the folder's Redis, which alone runs and asks for no password, and the folder's storage."""
    storage = LocalStorage(data_dir / "storage", "http://127.0.0.1", "it signs nothing here" * 2)
    storage.prepare()
    with RedisServer(data_dir / "redis") as redis:
        yield redis.url, storage
        redis.stop()


def main() -> None:
    """See the module."""
    furnished, golden = map(Path, sys.argv[1:])
    shutil.copy(furnished / SECRETS, golden)
    with stopped_stack(furnished) as (redis_url, storage):
        back_up(redis_url, storage, golden, lambda: datetime.now(UTC))


if __name__ == "__main__":
    main()
