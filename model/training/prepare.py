"""Makes a dataset of a folder of talking-head videos, and a report of what was left out and why."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from pathlib import Path

from pydantic import JsonValue, TypeAdapter, ValidationError

from model.audio.encoder import WHISPER_TINY, AudioEncoderConfig
from model.audio.features import tokens_shape
from model.faces.detector import FaceDetector, make_detector
from model.plan import MediaLimits
from model.training.errors import DatasetError
from model.training.footage import Cut, Drop, Filters, Passage, Survey, cut, survey
from model.training.hearing import encoder_of, fingerprint, heard
from model.training.shards import Clip, ClipLabels, ShardWriter, Split
from model.training.workers import in_order, worker_pool

REPORT_FILE = "report.json"

_SHARD_CLIPS = 4
"""A clip of 5 s has 100 MB at 512 px; as many wait in memory for their shard as it holds."""


@dataclass(frozen=True, slots=True)
class PrepareConfig:
    """How to prepare. heldout_share: of the videos; all clips of one video are in one split."""

    crop_size: int = 512
    heldout_share: float = 0.05
    filters: Filters = field(default_factory=Filters)

    def __post_init__(self) -> None:
        if not 0.0 <= self.heldout_share <= 1.0:
            raise ValueError("heldout_share has to lie in [0, 1].")
        if not 0.0 < self.filters.min_seconds <= self.filters.max_seconds:
            raise ValueError("min_seconds has to be above 0 and at most max_seconds.")


@dataclass(frozen=True, slots=True)
class Tools:
    """What it takes. yunet: the detector's file, None: dlib. audio_encoder: see `hearing.encoder_of`."""

    yunet: Path | None = None
    audio_encoder: Path | AudioEncoderConfig = WHISPER_TINY
    limits: MediaLimits = field(default_factory=MediaLimits)


@dataclass(slots=True)
class VideoReport:
    """What became of one video. passages: how many were cut; kept: the ids of the clips they gave."""

    passages: int
    kept: list[str] = field(default_factory=list)
    dropped: list[Drop] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """What became of each video, by its path within the folder."""

    videos: dict[str, VideoReport] = field(default_factory=dict)

    def reasons(self) -> Counter[str]:
        """How often each reason made something be left out."""
        return Counter(str(drop.reason) for video in self.videos.values() for drop in video.dropped)


_REPORT = TypeAdapter(Report)

OnVideo = Callable[[str, VideoReport], None]
"""Told of each video when all of its clips are cut."""


@dataclass(frozen=True, slots=True)
class _Task:
    """One passage of one video."""

    name: str
    clip_id: str
    passage: Passage


def prepare(
    source: Path, folder: Path, config: PrepareConfig, tools: Tools, *, processes: int, on_video: OnVideo
) -> Report:
    """Look through every file under `source`. Files that are no videos, or are damaged, are reported and left out.

    May be interrupted and run again: what is on disk is kept. Raises DatasetError, DetectorError, WeightsError.
    """
    if not source.is_dir():
        raise DatasetError(f"{source} is not a folder.")
    encoder = encoder_of(tools.audio_encoder)
    make_detector(tools.yunet)
    maker: dict[str, JsonValue] = {"maker": "prepare", "audio_encoder": fingerprint(encoder), **asdict(config)}
    writer = ShardWriter(
        folder,
        crop_size=config.crop_size,
        audio_shape=tokens_shape(encoder.config),
        maker=maker,
        audio_encoder=encoder,
        shard_clips=_SHARD_CLIPS,
    )
    before, report, on_disk = _read_report(folder), Report(), writer.clip_ids
    names = sorted(path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file())
    report.videos = {name: before.videos[name] for name in names if _is_done(before.videos.get(name), on_disk)}
    missing = [name for name in names if name not in report.videos]
    with writer, worker_pool(processes, __name__) as pool:
        surveys = in_order(pool, processes, partial(_survey, config, tools), [source / name for name in missing])
        tasks = _tasks(missing, surveys, report, on_disk, on_video)
        for name, clip_id, result in in_order(pool, processes, partial(_cut, config, tools), tasks):
            video = report.videos[name]
            if isinstance(result, Clip):
                writer.add(result)
                video.kept.append(clip_id)
            else:
                video.dropped.append(result)
            if _is_complete(video):
                on_video(name, video)
                _write_report(folder, report)
    _write_report(folder, report)
    return report


def split_of(name: str, heldout_share: float) -> Split:
    """The split of a video: decided by its name, so that it stays the same when others come or go."""
    draw = int.from_bytes(hashlib.sha256(name.encode()).digest()[:6]) / 2**48
    return Split.HELDOUT if draw < heldout_share else Split.TRAIN


def _tasks(
    names: list[str], surveys: Iterator[Survey], report: Report, on_disk: set[str], on_video: OnVideo
) -> Iterator[_Task]:
    """The passages of all videos, noting in the report what the surveys found."""
    for name, found in zip(names, surveys, strict=True):
        video = report.videos[name] = VideoReport(len(found.passages), dropped=list(found.dropped))
        for passage in found.passages:
            clip_id = f"{name}@{passage.start_seconds:.2f}"
            if clip_id in on_disk:
                video.kept.append(clip_id)
            else:
                yield _Task(name, clip_id, passage)
        if _is_complete(video):
            on_video(name, video)


def _is_complete(video: VideoReport) -> bool:
    """Whether every passage gave a clip or a reason not to."""
    return len(video.kept) + sum(drop.is_of_clip for drop in video.dropped) == video.passages


def _is_done(video: VideoReport | None, on_disk: set[str]) -> bool:
    """Whether nothing is left to do for a video: its clips are in shards, not only made."""
    return video is not None and _is_complete(video) and set(video.kept) <= on_disk


@cache
def _detector(yunet: Path | None) -> FaceDetector:
    return make_detector(yunet)


def _survey(config: PrepareConfig, tools: Tools, path: Path) -> Survey:
    return survey(path, config.filters, _detector(tools.yunet), tools.limits)


def _cut(config: PrepareConfig, tools: Tools, task: _Task) -> tuple[str, str, Clip | Drop]:
    made = cut(task.passage, config.crop_size, config.filters, tools.limits)
    return task.name, task.clip_id, _to_clip(made, task, config, tools) if isinstance(made, Cut) else made


def _to_clip(made: Cut, task: _Task, config: PrepareConfig, tools: Tools) -> Clip:
    """Nobody knows who speaks what in a video, so each stands for itself."""
    frames = len(made.frames)
    return Clip(
        labels=ClipLabels(task.clip_id, speaker=task.name, voice=task.name, sentence=task.clip_id, frames=frames),
        split=split_of(task.name, config.heldout_share),
        frames=made.frames,
        audio_features=heard(made.audio, frames, encoder_of(tools.audio_encoder)),
        audio=made.audio,
    )


def _read_report(folder: Path) -> Report:
    try:
        return _REPORT.validate_json((folder / REPORT_FILE).read_bytes())
    except FileNotFoundError:
        return Report()
    except (OSError, ValidationError) as error:
        raise DatasetError(f"{folder / REPORT_FILE} cannot be read: {error}") from error


def _write_report(folder: Path, report: Report) -> None:
    path = folder / REPORT_FILE
    path.with_suffix(".new").write_bytes(_REPORT.dump_json(report, indent=1))
    path.with_suffix(".new").replace(path)
