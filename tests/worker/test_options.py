"""The job's options, in the words of the model library."""

from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from core.jobs import Job, JobOptions, new_job_id
from core.settings import Settings
from model.plan import (
    AUTO,
    AudioCodec,
    Container,
    DubOptions,
    FacePoint,
    Geometry,
    MediaLimits,
    Output,
    Passage,
    SyncMode,
    VideoCodec,
)
from worker.options import dub_options, media_limits


def translated(**options: Any) -> DubOptions:
    job = Job(
        id=new_job_id(),
        video_url="http://studio.test/clip",
        audio_url="http://studio.test/voice",
        created_at=datetime.now(UTC),
        options=JobOptions.model_validate(options),
    )
    return dub_options(job)


def test_defaults_are_the_same_on_both_sides() -> None:
    assert translated() == DubOptions()


def test_every_option_of_the_model_library_can_be_asked_for_but_the_geometry() -> None:
    names = {"passages": "segments"}
    asked = {names.get(field.name, field.name) for field in fields(DubOptions)}
    assert asked - {"geometry"} <= set(JobOptions.model_fields)


def test_every_number_and_word_arrives() -> None:
    options = {"sync_mode": "hold", "seed": 7, "num_inference_steps": 3, "guidance_scale": 1.5}
    assert translated(**options) == DubOptions(SyncMode.HOLD, 7, 3, 1.5, Geometry.TRACKED)


@pytest.mark.parametrize(
    ("asked", "meant"),
    [("auto", AUTO), ("s2f1", "s2f1"), ({"x": 10.0, "y": 20.5, "time_s": 1.5}, FacePoint(10.0, 20.5, 1.5))],
)
def test_a_face_is_chosen_by_nothing_by_its_track_or_by_a_point(asked: Any, meant: Any) -> None:
    assert translated(face=asked).face == meant


def test_the_output_is_what_was_asked_for() -> None:
    asked = {"container": "mov", "codec": "hevc", "quality": 9, "audio_codec": "pcm"}
    assert translated(output=asked).output == Output(Container.MOV, VideoCodec.HEVC, 9, AudioCodec.PCM)


def test_the_limits_of_media_are_the_operators_and_by_default_the_librarys() -> None:
    assert media_limits(Settings(secret_key=SecretStr("x" * 32))) == MediaLimits()


def test_every_limit_of_media_can_be_set() -> None:
    chosen = {name: 300 * 1024**2 for name in Settings.model_fields if name.startswith(("media_", "decoder_"))}

    limits = media_limits(Settings.model_validate({"secret_key": "x" * 32, **chosen}))

    assert {getattr(limits, field.name) for field in fields(MediaLimits)} == {300 * 1024**2}


def test_segments_are_passages_whose_own_voices_lie_in_the_folder() -> None:
    segments = [
        {"start_s": 0, "end_s": 1.5},
        {"start_s": 1.5, "end_s": 2, "face": "s0f1"},
        {"start_s": 3, "end_s": 4.5, "audio_url": "upload://a", "face": {"x": 1, "y": 2, "time_s": 3}},
    ]
    job = Job(
        id=new_job_id(),
        video_url="http://studio.test/clip",
        created_at=datetime.now(UTC),
        options=JobOptions.model_validate({"segments": segments}),
    )
    assert dub_options(job, Path("/scratch")).passages == (
        Passage(0, 1.5),
        Passage(1.5, 2, face="s0f1"),
        Passage(3, 4.5, Path("/scratch/voice-2"), FacePoint(1, 2, 3)),
    )
