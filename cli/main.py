"""The `highsync` command. Every command imports what it needs when it runs, so that `--help` is quick."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from cli.remote import Remote

app = typer.Typer(
    name="highsync",
    help="Dub videos: the lips follow a new voice.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

keys_app = typer.Typer(no_args_is_help=True)
app.add_typer(keys_app, name="keys", help="API keys: who may use the service, and how much of it.")

weights_app = typer.Typer(no_args_is_help=True)
app.add_typer(weights_app, name="weights", help="Weights and face detector: fetched, checked, carried elsewhere.")

LOOPBACK = "127.0.0.1"
LOCAL_SERVICE = "http://127.0.0.1:8000"


StatusName = Literal["queued", "running", "succeeded", "failed", "canceled", "expired"]
# The words of model.plan's enums (a test compares): importing that module is not free.
SyncModeName = Literal["cut_off", "loop", "bounce", "silence", "hold"]
GeometryName = Literal["tracked", "published"]
VideoCodecName = Literal["h264", "hevc", "prores"]
AudioCodecName = Literal["aac", "pcm", "flac"]

InputFile = typer.Argument(exists=True, dir_okay=False, readable=True, show_default=False)
WeightsOption = Annotated[
    str, typer.Option(envvar="HIGHSYNC_WEIGHTS", help="tiny (untrained), a folder, or hf://owner/name.")
]
YunetOption = Annotated[
    Path | None,
    typer.Option(
        envvar="HIGHSYNC_YUNET_PATH", help="File of the YuNet face detector; without it dlib looks for faces."
    ),
]
DeviceOption = Annotated[str, typer.Option(envvar="HIGHSYNC_DEVICE", help="auto, cpu, or a device such as cuda:0.")]
HostOption = Annotated[str, typer.Option(help="Address to listen on.")]
UnauthenticatedOption = Annotated[
    bool, typer.Option("--allow-unauthenticated", help="Serve other machines although no API keys are set.")
]
UrlOption = Annotated[str, typer.Option("--url", envvar="HIGHSYNC_URL", help="Where the service answers.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.")]
JobIdArgument = Annotated[str, typer.Argument(metavar="JOB", help="The id that submit printed.", show_default=False)]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        file_okay=False,
        help="Data folder of a running `highsync serve`; without it the service is the one of HIGHSYNC_REDIS_URL.",
    ),
]
BundleArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A tar file, or - .", show_default=False)]
StepsOption = Annotated[int, typer.Option(min=1, max=100, help="Denoising steps; 20 is the published number.")]


@app.command()
def dub(
    video: Annotated[Path, InputFile],
    audio: Annotated[Path, InputFile],
    out: Annotated[Path, typer.Argument(dir_okay=False, show_default=False)],
    weights: WeightsOption = "tiny",
    steps: StepsOption = 20,
    guidance: Annotated[float, typer.Option(min=0.0, max=20.0, help="Classifier-free guidance; 1 turns it off.")] = 3.5,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same result.")] = 42,
    sync_mode: Annotated[
        SyncModeName, typer.Option(help="What happens when voice and video differ in length.")
    ] = "cut_off",
    geometry: Annotated[
        GeometryName,
        typer.Option(
            help="tracked: only the mouth region is changed. published: as the published program, up to 100 frames."
        ),
    ] = "tracked",
    codec: Annotated[VideoCodecName, typer.Option(help="prores needs an OUT that ends in .mov.")] = "h264",
    quality: Annotated[
        int | None, typer.Option(min=0, max=51, help="CRF of h264 and hevc; less is better. [default: 14]")
    ] = None,
    audio_codec: Annotated[AudioCodecName, typer.Option(help="flac in .mp4, pcm in .mov.")] = "aac",
    face: Annotated[
        str, typer.Option(help="Whose lips move: auto, a track id as `highsync probe` lists them, or X,Y@SECONDS.")
    ] = "auto",
    segment: Annotated[
        list[str] | None,
        typer.Option(metavar="START-END[=VOICE]", help="Dub only this part, in seconds, with the file VOICE or AUDIO."),
    ] = None,
    yunet: YunetOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Dub VIDEO with the voice in AUDIO and write OUT, on this machine and without any service."""
    from cli.dub import output_for, parse_face, parse_segment, run_dub
    from model.plan import DubOptions, Geometry, SyncMode

    try:
        options = DubOptions(
            sync_mode=SyncMode(sync_mode),
            seed=seed,
            num_inference_steps=steps,
            guidance_scale=guidance,
            geometry=Geometry(geometry),
            face=parse_face(face),
            output=output_for(out, codec=codec, quality=quality, audio_codec=audio_codec),
            passages=tuple(map(parse_segment, segment or ())),
        )
    except ValueError as error:
        raise typer.BadParameter(f"{error}.") from error
    raise typer.Exit(run_dub(video, audio, out, options, weights=weights, yunet=yunet, device=device))


@app.command()
def probe(
    video: Annotated[Path, InputFile],
    yunet: YunetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Say what is in VIDEO: the picture, the shots, and where a face was found."""
    from cli.probe import run_probe

    raise typer.Exit(run_probe(video, yunet=yunet, as_json=as_json))


@app.command()
def demo(
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder for the results.")] = Path("out"),
    steps: Annotated[int, typer.Option(min=1, max=100, help="Denoising steps; few, to be quick.")] = 4,
) -> None:
    """Show everything: make a sample clip, start the service, dub the clip through its API, stop the service."""
    from cli.demo import run_demo

    raise typer.Exit(run_demo(out, steps=steps))


@app.command()
def serve(
    host: HostOption = LOOPBACK,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the API.")] = 8000,
    data: Annotated[Path, typer.Option(file_okay=False, help="Folder for jobs, files and logs.")] = Path(
        "highsync-data"
    ),
    allow_unauthenticated: UnauthenticatedOption = False,
) -> None:
    """Run the whole service on this machine (Redis, API, worker) until Ctrl-C."""
    from cli.serve import run_stack

    raise typer.Exit(run_stack(host, port, data, allow_unauthenticated=allow_unauthenticated))


@app.command()
def api(
    host: HostOption = LOOPBACK,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    allow_unauthenticated: UnauthenticatedOption = False,
) -> None:
    """Run the API alone. Its settings come from HIGHSYNC_* variables."""
    from cli.api import run_api

    raise typer.Exit(run_api(host, port, allow_unauthenticated=allow_unauthenticated))


@app.command()
def doctor(
    api_port: Annotated[int, typer.Option(min=1, max=65535, help="Port that the API listens on, or shall.")] = 8000,
    as_json: JsonOption = False,
) -> None:
    """Look at everything that a job will need: Redis, storage, disks, ports, GPU, codecs. Settings as HIGHSYNC_*."""
    from cli.doctor import run_doctor

    raise typer.Exit(run_doctor(api_port, as_json=as_json))


@app.command()
def backup(
    folder: Annotated[Path, typer.Argument(file_okay=False, help="A new folder.", show_default=False)],
) -> None:
    """Write all jobs, keys, uploads and results into FOLDER while the service runs. Settings as HIGHSYNC_*."""
    from cli.backup import run_backup

    raise typer.Exit(run_backup(folder))


@app.command()
def restore(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, show_default=False)],
    force: Annotated[bool, typer.Option("--force", help="Remove what the installation has now.")] = False,
) -> None:
    """Bring back a backup from FOLDER, while API and workers are stopped. Settings as HIGHSYNC_*."""
    from cli.backup import run_restore

    raise typer.Exit(run_restore(folder, force=force))


@app.command()
def worker() -> None:
    """Run one worker. Its settings come from HIGHSYNC_* variables."""
    from worker.__main__ import main

    raise typer.Exit(main())


@app.command()
def submit(
    video: Annotated[str, typer.Argument(help="A file, which is uploaded, or an http(s) URL.", show_default=False)],
    audio: Annotated[str, typer.Argument(help="The new voice: a file or a URL.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("--out", dir_okay=False, help="Wait for the end, and write the result here.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="NAME=VALUE", help="A job option: seed=7, output.codec=hevc."),
    ] = None,
    metadata: Annotated[
        list[str] | None, typer.Option("--metadata", metavar="NAME=VALUE", help="Comes back with the job.")
    ] = None,
    webhook_url: Annotated[str | None, typer.Option(help="Address that is told about the job.")] = None,
    webhook_event: Annotated[
        list[str] | None,
        typer.Option("--webhook-event", metavar="EVENT", help="What it is told: job.started; else how the job ended."),
    ] = None,
    start_deadline_s: Annotated[
        float | None, typer.Option(help="Let the job expire when it is not started so many seconds from now.")
    ] = None,
    deadline_s: Annotated[
        float | None, typer.Option(help="Let the job expire when it is not done so many seconds from now.")
    ] = None,
    url: UrlOption = LOCAL_SERVICE,
    as_json: JsonOption = False,
) -> None:
    """Submit a job to a service, and print its id. The key, if the service wants one, is HIGHSYNC_API_KEY."""
    from cli import remote

    try:
        options, extras = remote.parse_options(option or ()), remote.parse_pairs(metadata or ())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    service = _service(url, as_json)
    wishes = {
        "webhook_url": webhook_url,
        "webhook_events": webhook_event or None,
        "metadata": extras,
        "start_deadline_s": start_deadline_s,
        "deadline_s": deadline_s,
    }
    raise typer.Exit(remote.submit(service, video, audio, options, wishes=wishes, target=out))


@app.command()
def batch(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="One job per line, as JSON.", show_default=False)
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check every line.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the batch to its end.")] = False,
    webhook_url: Annotated[str | None, typer.Option(help="Address that is told when all is over.")] = None,
    url: UrlOption = LOCAL_SERVICE,
    as_json: JsonOption = False,
) -> None:
    """Submit many jobs at once, all or none, and print the batch's id. Inputs are URLs or ids of uploads."""
    from cli import remote

    try:
        jobs = remote.read_lines(file)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    service = _service(url, as_json)
    raise typer.Exit(remote.batch(service, jobs, webhook_url=webhook_url, dry_run=dry_run, wait=wait))


@app.command()
def status(
    job: Annotated[list[str] | None, typer.Argument(metavar="[JOB]...", show_default=False)] = None,
    state: Annotated[StatusName | None, typer.Option(help="Without JOB: only jobs in this state.")] = None,
    url: UrlOption = LOCAL_SERVICE,
    as_json: JsonOption = False,
) -> None:
    """Show JOBs of a service as they are now; without any, the latest ones."""
    from cli import remote

    raise typer.Exit(remote.status(_service(url, as_json), job or (), state))


@app.command()
def watch(job: JobIdArgument, url: UrlOption = LOCAL_SERVICE, as_json: JsonOption = False) -> None:
    """Follow JOB to its end. Exit status 0 means that it has succeeded."""
    from cli import remote

    raise typer.Exit(remote.watch(_service(url, as_json), job))


@app.command()
def cancel(job: JobIdArgument, url: UrlOption = LOCAL_SERVICE, as_json: JsonOption = False) -> None:
    """Cancel JOB."""
    from cli import remote

    raise typer.Exit(remote.cancel(_service(url, as_json), job))


@app.command()
def download(
    job: JobIdArgument,
    out: Annotated[Path, typer.Argument(dir_okay=False, show_default=False)],
    url: UrlOption = LOCAL_SERVICE,
    as_json: JsonOption = False,
) -> None:
    """Write the result of JOB to OUT, going on where an earlier download broke off."""
    from cli import remote

    raise typer.Exit(remote.download(_service(url, as_json), job, out))


@keys_app.command("create")
def create_key(
    tenant: Annotated[
        str, typer.Argument(help="Whose jobs it submits and sees, such as studio-a.", show_default=False)
    ],
    scope: Annotated[
        list[str] | None, typer.Option(help="submit, read or admin; may be repeated. Default: submit and read.")
    ] = None,
    max_running: Annotated[int | None, typer.Option(min=1, help="Jobs of the tenant that run at a time.")] = None,
    max_queued: Annotated[int | None, typer.Option(min=1, help="Jobs of the tenant that may wait.")] = None,
    requests_per_minute: Annotated[int | None, typer.Option(min=1, help="Requests with this key.")] = None,
    storage_bytes: Annotated[int | None, typer.Option(min=1, help="Bytes of the tenant's uploads.")] = None,
    retention_s: Annotated[int | None, typer.Option(min=60, help="Seconds that finished jobs are kept.")] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key for TENANT and print it, this once. Without a limit the service's own one counts, if it has any."""
    from cli import keys
    from core.api_keys import KeyLimits

    limits = KeyLimits(
        max_running=max_running,
        max_queued=max_queued,
        requests_per_minute=requests_per_minute,
        storage_bytes=storage_bytes,
        retention_s=retention_s,
    )
    raise typer.Exit(keys.create(data, tenant, scope or ["submit", "read"], limits, as_json=as_json))


@keys_app.command("list")
def list_keys(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show all keys, the revoked ones too. What opens the door is not shown: nobody has kept it."""
    from cli import keys

    raise typer.Exit(keys.show_all(data, as_json=as_json))


@keys_app.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="What follows `hs_`.", show_default=False)],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a key, from the next request on. Its tenant's jobs go on."""
    from cli import keys

    raise typer.Exit(keys.revoke(data, key_id, as_json=as_json))


@weights_app.command("pull")
def pull_weights(
    weights: WeightsOption = "tiny",
    yunet: YunetOption = None,
    yunet_url: Annotated[
        str | None, typer.Option(envvar="HIGHSYNC_YUNET_URL", help="Where YuNet's file is, if not at the OpenCV Zoo.")
    ] = None,
    update: Annotated[bool, typer.Option("--update", help="Ask the Hub whether there are newer weights.")] = False,
) -> None:
    """Fetch what is missing, going on where an earlier run broke off. If nothing is, only hashes are checked."""
    from cli import weights as command

    raise typer.Exit(command.pull(weights, yunet, yunet_url or command.YUNET_URL, update=update))


@weights_app.command("verify")
def verify_weights(weights: WeightsOption = "tiny", yunet: YunetOption = None) -> None:
    """Compare every file with its hash. Nothing is fetched."""
    from cli import weights as command

    raise typer.Exit(command.verify(weights, yunet))


@weights_app.command("bundle")
def bundle_weights(file: BundleArgument, weights: WeightsOption = "tiny", yunet: YunetOption = None) -> None:
    """Write weights and face detector of this machine into FILE, for one without a network."""
    from cli import weights as command

    raise typer.Exit(command.bundle(file, weights, yunet))


@weights_app.command("load")
def load_weights(file: BundleArgument, weights: WeightsOption = "tiny", yunet: YunetOption = None) -> None:
    """Put the content of a bundle where --weights and --yunet name it, once every hash is right."""
    from cli import weights as command

    raise typer.Exit(command.load(file, weights, yunet))


def _service(url: str, as_json: bool) -> "Remote":
    """The key comes from the environment only: a command line can be read by everybody on the machine."""
    from cli.remote import Remote

    return Remote(url, os.environ.get("HIGHSYNC_API_KEY"), as_json, ca_file=os.environ.get("HIGHSYNC_CA_FILE"))
