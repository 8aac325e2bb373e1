"""
`python -P tests/furnish.py FOLDER`: leaves the data folder of a stack with a finished job, one that waits, their
uploads and an API key, and prints what they are.

It uses only what the project had in 0.1.0, so that the code of that version furnishes as well, named by PYTHONPATH.
"""

import json
import sys
from pathlib import Path
from typing import TypedDict

from client import HighSync
from core.api_keys import KeyLimits, Keyring, RedisKeyStore, Scope
from core.job_store import RedisJobStore
from tests.media_factory import make_voice
from tests.stub_stack import SEGMENTS, SHOT_FRAMES, StubStack, stub_clip

FOR_EVER = {"HIGHSYNC_RETENTION_S": "0"}


class Furniture(TypedDict):
    """What to look for, and the key that opens the door."""

    api_key: str
    finished: str
    result_sha256: str
    waiting: str
    video: str
    voice: str


def furnish(stack: StubStack, folder: Path) -> Furniture:
    """Have one job done and one wait, without a worker in the end. The files of the jobs are made in the folder."""
    keyring = Keyring(RedisKeyStore.connect(stack.redis_url), RedisJobStore.connect(stack.redis_url))
    _, api_key = keyring.create("studio-a", [Scope.SUBMIT, Scope.READ], KeyLimits())
    clip = stub_clip(folder / "clip.mp4")
    line = make_voice(folder / "line.m4a", seconds=SEGMENTS * SHOT_FRAMES / 25, codec="aac")
    with HighSync(stack.url, api_key.get_secret_value()) as client:
        video, voice = client.upload(clip), client.upload(line)
        finished = client.wait(client.submit(video, voice, seed=1).id, 180)
        assert finished.result is not None, finished
        stack.worker.stop(30)
        waiting = client.submit(video, voice, seed=2)
    return {
        "api_key": api_key.get_secret_value(),
        "finished": finished.id,
        "result_sha256": finished.result.sha256,
        "waiting": waiting.id,
        "video": video,
        "voice": voice,
    }


def main() -> None:
    """See the module."""
    folder = Path(sys.argv[1])
    with StubStack(folder, settings=FOR_EVER) as stack:
        print(json.dumps(furnish(stack, folder), indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
