"""The main job, from POST to file, over real servers."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from cli.embedded_stack import EmbeddedStack
from cli.main import app
from client import HighSync, Job, NotAllowed
from model.audio.log_mel import SAMPLE_RATE_HZ
from model.media.audio import read_audio_mono_16k
from model.media.reader import VideoReader, probe_video
from model.plan import MediaLimits
from model.progress import Stage
from tests.e2e.house import FAULT_TOLERANT, QUICK, Studio, failure_of
from tests.media_factory import make_voice
from tests.servers import MotoServer, wait_until
from tests.sites import Site, Visit

pytestmark = pytest.mark.e2e


def serve(site: Site, path: str, file: Path) -> str:
    """Put a file onto the site; its URL."""
    site.pages[path] = lambda visit: visit.reply(200, file.read_bytes())
    return site.url(path)


def check_result(client: HighSync, job: Job, folder: Path, codec: str = "h264") -> None:
    """The result is what the API says of it: 16 frames, the source's size, these very bytes."""
    assert job.result is not None, job.error
    path = client.download(job.id, folder / "dubbed")
    assert probe_video(path, MediaLimits()).codec == codec
    assert path.stat().st_size == job.result.bytes
    assert sum(1 for _ in VideoReader(path).frames()) == job.result.frames == 16
    assert (job.result.width, job.result.height, job.result.fps) == (384, 384, 25.0)
    assert job.result.duration_s == pytest.approx(0.64)
    assert job.result.weights == "tiny (untrained)"


def test_by_upload_with_local_storage(studio: Studio, clip: Path, line: Path, tmp_path: Path) -> None:
    job = studio.dub(studio.client.upload(clip), studio.client.upload(line))
    check_result(studio.client, job, tmp_path)


def test_by_url_with_local_storage(studio: Studio, site: Site, clip: Path, line: Path, tmp_path: Path) -> None:
    output = {"container": "mov", "codec": "prores", "audio_codec": "pcm"}
    job = studio.dub(serve(site, "/clip.mp4", clip), serve(site, "/line.wav", line), output=output)
    check_result(studio.client, job, tmp_path, codec="prores")
    assert job.result is not None
    assert ".mov" in job.result.url


def test_a_segment_with_a_voice_of_its_own(studio: Studio, clip: Path, line: Path, tmp_path: Path) -> None:
    segment = {"start_s": 0.08, "end_s": 0.4, "audio_url": line}
    accepted = studio.client.submit(clip, None, **QUICK, segments=[segment])
    job = studio.wait(accepted.id)
    check_result(studio.client, job, tmp_path)
    assert job.preflight is not None
    assert job.preflight.frames_to_render == 8


@pytest.fixture(scope="module")
def s3_studio(moto_server: MotoServer, site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A stack whose storage is S3, and which wants API keys."""
    settings = FAULT_TOLERANT | {
        "HIGHSYNC_STORAGE_URL": "s3://e2e-jobs/studio",
        "HIGHSYNC_S3_ENDPOINT": moto_server.url,
        "HIGHSYNC_S3_ACCESS_KEY": "test",
        "HIGHSYNC_S3_SECRET_KEY": "test",
        "HIGHSYNC_FETCH_ALLOW": f"127.0.0.1/32:{site.port}",
    }
    with EmbeddedStack(tmp_path_factory.mktemp("s3") / "stack", settings=settings) as stack:
        made = CliRunner().invoke(app, ["keys", "create", "studio-a", "--data", str(stack.data_dir)])
        with HighSync(stack.url, made.stdout.strip()) as client:
            yield Studio(stack, client)


def test_by_upload_and_by_url_with_s3(
    s3_studio: Studio, moto_server: MotoServer, site: Site, clip: Path, line: Path, tmp_path: Path
) -> None:
    # Given a stack whose storage is S3, which lets no stranger in
    with pytest.raises(NotAllowed), HighSync(s3_studio.stack.url) as stranger:
        stranger.upload(clip)
    # When the video is uploaded straight to S3 and the voice fetched
    job = s3_studio.dub(s3_studio.client.upload(clip), serve(site, "/s3-line.wav", line))
    # Then the result is downloaded straight from S3
    check_result(s3_studio.client, job, tmp_path)
    assert job.result is not None
    assert job.result.url.startswith(moto_server.url)


def test_a_real_clip_by_url_and_its_voice_by_upload_with_s3(
    s3_studio: Studio, moto_server: MotoServer, site: Site, real_media_dir: Path, tmp_path: Path
) -> None:
    # Given a real clip (HEVC, 1080x1920), and the first two seconds of a real voice
    samples = read_audio_mono_16k(real_media_dir / "voice.wav")[: 2 * SAMPLE_RATE_HZ]
    voice = make_voice(tmp_path / "voice.wav", samples=samples[None])
    # When the video is fetched and the voice uploaded straight to S3
    url = serve(site, "/real.mp4", real_media_dir / "speaker.mp4")
    job = s3_studio.dub(url, s3_studio.client.upload(voice))
    # Then two seconds of it come back from S3, every frame dubbed
    assert job.result is not None, job.error
    assert (job.result.width, job.result.height, job.result.frames, job.result.fps) == (1080, 1920, 50, 25.0)
    assert job.preflight is not None
    assert job.preflight.frames_to_render == 50
    assert job.result.url.startswith(moto_server.url)
    path = s3_studio.client.download(job.id, tmp_path / "dubbed.mp4")
    assert path.stat().st_size == job.result.bytes
    assert sum(1 for _ in VideoReader(path).frames()) == 50


def seconds_to_cancel(studio: Studio, video: str, audio: str) -> float:
    """How long after the request a job that is denoising is canceled. Nothing of it is left then."""
    job_id = studio.post(video, audio, num_inference_steps=20)
    studio.wait_for_stage(job_id, "denoise")
    asked = time.monotonic()
    studio.client.cancel(job_id)
    job = studio.client.wait(job_id, timeout_s=30)
    seconds = time.monotonic() - asked
    assert job.status == "canceled"
    wait_until(lambda: not any(studio.stack.data_dir.rglob(f"*{job_id}*/*")), 5, what="clean folders")
    return seconds


def test_a_running_job_is_canceled_within_two_seconds_and_the_next_one_runs(
    studio: Studio, long_clip: Path, long_line: Path, clip: Path, line: Path
) -> None:
    video, audio = studio.client.upload(long_clip), studio.client.upload(long_line)
    # A machine that others keep busy may be late now and then, so the best of three counts
    assert any(seconds_to_cancel(studio, video, audio) < 2.0 for _ in range(3))
    assert studio.dub(studio.client.upload(clip), studio.client.upload(line)).status == "succeeded"


def test_a_preflight_shows_the_faces_and_renders_nothing(studio: Studio, clip: Path, line: Path) -> None:
    inputs = {"video_url": studio.client.upload(clip), "audio_url": studio.client.upload(line)}
    accepted = httpx.post(f"{studio.stack.url}/preflight", json=inputs, trust_env=False)
    assert accepted.status_code == 202
    job = studio.wait(accepted.json()["id"])
    assert job.status == "succeeded"
    assert job.result is None
    assert job.preflight is not None
    (face,) = job.preflight.faces
    picture = httpx.get(face.thumbnail_url, trust_env=False)
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/jpeg")
    assert picture.content.startswith(b"\xff\xd8")
    assert studio.rendered(job.id) == []


def test_the_worker_shows_its_numbers(studio: Studio, clip: Path, line: Path) -> None:
    studio.dub(studio.client.upload(clip), studio.client.upload(line))
    text = httpx.get(f"http://127.0.0.1:{studio.stack.worker_metrics_port}/metrics", trust_env=False).text
    shown = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}
    assert shown["highsync_realtime_factor_count"] >= 1
    assert shown["highsync_realtime_factor_sum"] > 0
    assert shown['highsync_frames_total{result="synced"}'] >= 16
    for stage in Stage:
        assert shown[f'highsync_stage_duration_seconds_count{{stage="{stage}"}}'] >= 1


def _moved(visit: Visit) -> None:
    visit.reply(302, Location="http://169.254.169.254/latest/meta-data/")


def test_a_redirect_into_the_network_fails_the_job_not_the_worker(studio: Studio, site: Site, line: Path) -> None:
    site.pages["/moved"] = _moved
    job = studio.dub(site.url("/moved"), studio.client.upload(line))
    assert failure_of(job).code == "address_blocked"
