"""All settings of the service, read once from the environment (`HIGHSYNC_*`) at the edge of each process."""

import base64
from pathlib import Path
from typing import Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

ENV_PREFIX = "HIGHSYNC_"

_WELL_KNOWN = ("changeme", "replaceme", "yoursecret", "minioadmin", "password", "example", "default", "insecure")
"""What stands in place of a secret in examples and in the defaults of other services; looked for among the letters."""


SettingsT = TypeVar("SettingsT", bound=BaseSettings)


class SettingsError(Exception):
    """The environment does not make valid settings. The message names each variable and what is wrong with it."""


class LogSettings(BaseSettings):
    """How a process logs: all that a command needs to know that has no part in jobs."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, env_ignore_empty=True, extra="ignore", frozen=True)

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe level that is logged."
    )
    log_format: Literal["json", "console"] = Field("json", description="json for machines, console for people.")


class Settings(LogSettings):
    """Every setting, with its unit in its name. `docs/configuration.md` lists them all (a test compares)."""

    # the house
    redis_url: str = Field("redis://127.0.0.1:6379/0", description="Redis, for job records and the queue.")
    public_url: str = Field("http://127.0.0.1:8000", description="Where clients reach the API; base of every link.")
    secret_key: SecretStr = Field(
        description="At least 32 characters; signs links to local files and seals stored secrets. Required.",
        min_length=32,
    )
    allow_unauthenticated: bool = Field(
        False, description="Serve other machines although there are no API keys: something else checks who comes."
    )
    api_processes: int = Field(
        1, ge=1, le=64, description="API processes behind the one port; each takes one core at most, and some 100 MiB."
    )
    otlp_endpoint: str | None = Field(
        None,
        description="Where traces go (OTLP over HTTP), such as http://collector:4318. Default: "
        "OTEL_EXPORTER_OTLP_ENDPOINT; absent too: no spans are kept.",
    )

    # storage
    storage_url: str = Field("file:///var/lib/highsync", description="file:///folder or s3://bucket[/prefix].")
    s3_endpoint: str | None = Field(None, description="S3 endpoint as the service reaches it; absent means AWS.")
    s3_public_endpoint: str | None = Field(None, description="S3 endpoint as clients reach it; default: s3_endpoint.")
    s3_region: str = Field("us-east-1", description="S3 region.")
    s3_access_key: str | None = Field(None, description="S3 access key; absent means boto3's own search.")
    s3_secret_key: SecretStr | None = Field(None, description="S3 secret key.")
    link_ttl_s: int = Field(
        3600, ge=60, le=604800, description="How long a download or upload link is valid, in seconds."
    )

    # inputs
    input_max_bytes: int = Field(8 * 1024**3, gt=0, description="Largest video or voice that is taken, in bytes.")
    uploads_max_bytes: int = Field(
        0, ge=0, description="Most bytes that the uploads of one tenant may have together; 0: no limit."
    )
    upload_ttl_s: float = Field(
        86400.0, ge=60, description="An upload that no job uses is removed after so many seconds."
    )
    request_max_bytes: int = Field(256 * 1024, gt=0, description="Largest JSON request body, in bytes.")
    batch_max_bytes: int = Field(8 * 1024**2, gt=0, description="Largest body of POST /batches, in bytes.")
    fetch_allow: str = Field(
        "", description="Private addresses inputs and webhooks may use: CIDR:port, comma separated."
    )
    fetch_deny: str = Field(
        "api,worker,weights,redis,s3,prometheus,grafana,alertmanager,redis-exporter,gpu-exporter,caddy",
        description="Hosts never reached even inside fetch_allow, besides Redis and the bucket: host or host:port.",
    )
    fetch_timeout_s: float = Field(1800.0, gt=0, description="Longest time one download may take, in seconds.")
    fetch_min_bytes_per_s: int = Field(
        16 * 1024, ge=0, description="A download slower than this over 30 s is given up."
    )
    media_max_pixels: int = Field(3840 * 2160 * 2, gt=0, description="Largest picture, in pixels.")
    media_max_frames: int = Field(1_080_000, gt=0, description="Longest video, in frames.")
    media_max_duration_s: float = Field(4 * 3600.0, gt=0, description="Longest video or voice, in seconds.")
    media_max_fps: int = Field(240, gt=0, description="Most frames of a video in any second; a tenth more is let pass.")
    media_max_streams: int = Field(32, gt=0, description="Most streams (pictures, sound, subtitles, data) of a file.")
    media_max_decoded_bytes: int = Field(
        1_080_000 * 3840 * 2160 * 3 // 2, gt=0, description="Largest video when decoded, counted as 4:2:0, in bytes."
    )
    decoder_memory_bytes: int = Field(
        4 * 1024**3, ge=256 * 1024**2, description="Most memory of the process that decodes one input, in bytes."
    )
    decoder_cpu_s: int = Field(
        12 * 3600, gt=0, description="Most processor time of the process that decodes one input, in seconds."
    )
    decoder_silence_s: float = Field(
        60.0, gt=0, description="A decoder that gives no new frame for so long is ended: media_timeout, in seconds."
    )

    # jobs
    lease_ttl_s: float = Field(60.0, gt=0, description="A worker silent for so long has lost its job, in seconds.")
    lease_renew_s: float = Field(10.0, gt=0, description="How often a worker says that it is alive, in seconds.")
    max_attempts: int = Field(
        3, ge=1, description="Attempts lost with their worker before the job fails as worker_lost."
    )
    reconcile_interval_s: float = Field(5.0, gt=0, description="How often lost jobs are looked for, in seconds.")
    retention_s: float = Field(
        30 * 86400.0,
        ge=0,
        description="A job is purged so many seconds after its end, with its inputs and its result; 0: it is kept.",
    )
    janitor_interval_s: float = Field(
        60.0, gt=0, description="How often old jobs, unused uploads and orphaned files are looked for, in seconds."
    )
    orphan_grace_s: float = Field(
        86400.0,
        ge=0,
        le=30 * 86400,
        description="Files without a record are removed when they have been seen without one for so many seconds.",
    )
    stall_timeout_s: float = Field(
        1800.0,
        gt=0,
        description="A render without any sign of life for so long is ended and starts again elsewhere, in seconds; "
        "allow for the transfer of the largest file.",
    )
    job_time_limit_s: float = Field(12 * 3600.0, gt=0, description="Longest time one attempt may take, in seconds.")

    # requests
    idempotency_ttl_s: int = Field(
        86_400, ge=60, description="How long an Idempotency-Key and its answer are kept, in seconds."
    )

    followers_max: int = Field(
        4000, ge=1, description="Most requests that may wait for jobs at once (long polls, streams), per API process."
    )
    followers_max_per_tenant: int = Field(1000, ge=1, description="Likewise, of one tenant.")

    # webhooks
    webhook_secret: SecretStr | None = Field(
        None, description="Signs webhooks of whoever has made no secret of their own (Standard Webhooks, whsec_…)."
    )
    webhook_secret_overlap_s: float = Field(
        86_400.0, ge=0, description="How long a replaced webhook secret signs beside the new one, in seconds."
    )
    webhook_progress_s: float = Field(
        10.0, ge=1, description="Least time between two job.progress webhooks of one job, in seconds."
    )

    # the worker
    weights: str = Field("tiny", description="tiny, a folder, or hf://owner/name.")
    device: str = Field("auto", description="auto, cpu, or a CUDA device such as cuda:0.")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        "auto", description="auto: float16 on CUDA, float32 on CPU."
    )
    yunet_path: Path | None = Field(
        None, description="File of the YuNet face detector; absent means dlib's built-in one."
    )
    scratch_dir: Path | None = Field(
        None, description="Where jobs keep temporary files; absent means the system's place."
    )
    worker_metrics_port: int = Field(9101, ge=0, le=65535, description="The worker's /metrics port; 0 turns it off.")
    worker_metrics_host: str = Field(
        "127.0.0.1", description="Address of the worker's /metrics; 0.0.0.0 inside a container of its own."
    )

    @field_validator("redis_url")
    @classmethod
    def _redis_url_is_one(cls, url: str) -> str:
        if urlsplit(url).scheme not in ("redis", "rediss"):
            raise ValueError("must begin with redis:// or rediss://")
        return url

    @field_validator("public_url")
    @classmethod
    def _public_url_is_one(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
            raise ValueError("must be http://host or https://host, and may have a path")
        return url

    @field_validator("storage_url")
    @classmethod
    def _storage_url_names_a_place(cls, url: str) -> str:
        parts = urlsplit(url)
        is_folder = parts.scheme == "file" and not parts.netloc and len(parts.path) > 1
        is_bucket = parts.scheme == "s3" and bool(parts.netloc)
        if not (is_folder or is_bucket):
            raise ValueError("must be file:///folder or s3://bucket[/prefix]")
        return url

    @field_validator("webhook_secret")
    @classmethod
    def _webhook_secret_is_one(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and not 24 <= len(_base64_bytes(secret.get_secret_value().removeprefix("whsec_"))) <= 64:
            raise ValueError("must be whsec_ and, in base64, 24 to 64 random bytes")
        return secret

    @model_validator(mode="after")
    def _secrets_are_nobodys_default(self) -> Self:
        secrets = {
            "SECRET_KEY": self.secret_key.get_secret_value(),
            "S3_SECRET_KEY": self.s3_secret_key.get_secret_value() if self.s3_secret_key else "",
            "REDIS_URL": urlsplit(self.redis_url).password or "",
        }
        for name, secret in secrets.items():
            letters = "".join(character for character in secret.lower() if character.isalpha())
            if any(word in letters for word in _WELL_KNOWN):
                raise ValueError(f"{ENV_PREFIX}{name} has a secret that everybody knows; make init makes fresh ones")
        return self

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.lease_renew_s * 2 > self.lease_ttl_s:
            raise ValueError(f"{ENV_PREFIX}LEASE_RENEW_S must be at most half of {ENV_PREFIX}LEASE_TTL_S")
        if (self.s3_access_key is None) != (self.s3_secret_key is None):
            raise ValueError(f"{ENV_PREFIX}S3_ACCESS_KEY and {ENV_PREFIX}S3_SECRET_KEY go together")
        return self


def _base64_bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""


def load_settings() -> Settings:
    """The settings of this process, from its environment. Raises SettingsError, which never repeats a value."""
    return _load(Settings)


def load_log_settings() -> LogSettings:
    """Likewise, only how it logs."""
    return _load(LogSettings)


def _load(kind: type[SettingsT]) -> SettingsT:
    try:
        return kind()
    except ValidationError as error:
        problems = [_problem(detail["loc"], detail["msg"]) for detail in error.errors(include_input=False)]
        raise SettingsError("\n".join(["The settings are not valid:", *problems])) from None


def _problem(location: tuple[int | str, ...], message: str) -> str:
    variable = "".join(f"{ENV_PREFIX}{str(name).upper()}: " for name in location[:1])
    return f"  {variable}{message.removeprefix('Value error, ')}"
