"""Whether `make demo` has left videos that play, picture and voice: `python scripts/check_demo.py FOLDER`."""

import sys
from pathlib import Path

import av

SECONDS = 4.0
FPS = 25
WIDTH, HEIGHT = 1280, 720


def check(path: Path, *, width: int) -> str:
    """Decodes the whole file and says what is in it; SystemExit when that is not the whole clip with its voice."""
    with av.open(str(path)) as container:
        decoded = list(container.decode(video=0, audio=0))
        rate = container.streams.video[0].average_rate
    pictures = [frame for frame in decoded if isinstance(frame, av.VideoFrame)]
    voice_s = sum(frame.samples / frame.sample_rate for frame in decoded if isinstance(frame, av.AudioFrame))
    sizes = {(frame.width, frame.height) for frame in pictures}
    found = f"{path}: {len(pictures)} frames of {sizes} at {rate} fps, {voice_s:.2f} s of voice"
    whole = abs(len(pictures) / FPS - SECONDS) <= 0.2 and abs(voice_s - SECONDS) <= 0.2
    if not (whole and rate == FPS and sizes == {(width, HEIGHT)}):
        raise SystemExit(f"Not what the demo should leave: {found}")
    return found


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    sys.stdout.write(check(folder / "dubbed.mp4", width=WIDTH) + "\n")
    sys.stdout.write(check(folder / "side_by_side.mp4", width=2 * WIDTH) + "\n")
