"""What `highsync doctor` looks at where jobs are rendered: the device, the codecs, the detector, the weights.

Where the model is not installed, as in the API's image, there is nothing to look at, and that is said.
"""

import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec

from cli.findings import Finding, failure, ok, skipped, warning
from core.settings import Settings

_DRIVER_TIMEOUT_S = 20.0
CHECKS = ("driver", "device", "codecs", "face detector", "weights")


def check_machine(settings: Settings) -> Iterator[Finding]:
    """Everything that a worker on this machine would need."""
    if any(find_spec(module) is None for module in ("torch", "av", "diffusers")):
        yield from (skipped(check, "The model is not installed here.") for check in CHECKS)
        return
    yield _driver()
    yield _device(settings)
    yield _codecs()
    yield _detector(settings)
    yield _weights(settings)


def _driver() -> Finding:
    """NVIDIA's driver, as its own tool tells it."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return skipped("driver", "There is no nvidia-smi, so no NVIDIA driver.")
    command = [tool, "--query-gpu=name,driver_version,memory.total,memory.free", "--format=csv,noheader"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_DRIVER_TIMEOUT_S)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        return failure("driver", f"nvidia-smi: {error}", "Restart the machine after an update of the driver.")
    return ok("driver", "; ".join(line.strip() for line in told.stdout.splitlines() if line.strip()))


def _device(settings: Settings) -> Finding:
    """Where the networks would run, and how much memory is there."""
    import torch

    from worker.model_host import CUDA, choose_device, choose_dtype

    hint = "Check the driver, and that the container was given the GPU; or set HIGHSYNC_DEVICE."
    try:
        device = choose_device(settings.device)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        return failure("device", f"{settings.device}: {str(error).splitlines()[0]}", hint)
    dtype = str(choose_dtype(settings.dtype, device)).removeprefix("torch.")
    if device.type != CUDA:
        return warning("device", f"{device}, {dtype}", "Without a GPU the full model is far too slow to work with.")
    free, total = torch.cuda.mem_get_info(device)
    name = torch.cuda.get_device_name(device)
    return ok("device", f"{name}, {dtype}, {free / 1024**3:.1f} of {total / 1024**3:.1f} GiB free")


def _codecs() -> Finding:
    """Whether every codec of `options.output` can be written here."""
    import av

    from model.errors import EncoderUnavailable
    from model.media.writer import check_encoder
    from model.plan import VideoCodec

    missing = []
    for codec in VideoCodec:
        try:
            check_encoder(codec)
        except EncoderUnavailable:
            missing.append(codec.value)
    found = f"PyAV {av.__version__}"
    if missing:
        return failure("codecs", f"{found} cannot write {', '.join(missing)}", "Install PyAV from its own wheel.")
    return ok("codecs", f"{found} writes {', '.join(VideoCodec)}")


def _detector(settings: Settings) -> Finding:
    from model.errors import DetectorError
    from model.faces.detector import make_detector

    try:
        make_detector(settings.yunet_path)
    except DetectorError as error:
        return failure("face detector", str(error), "HIGHSYNC_YUNET_PATH has to name YuNet's file.")
    return ok("face detector", f"YuNet, {settings.yunet_path}" if settings.yunet_path else "dlib's own")


def _weights(settings: Settings) -> Finding:
    """Whether they are there, with every byte that was published."""
    from model.checkpoint import checked_files
    from model.errors import WeightsError
    from model.weights import TINY_SPEC, present_folder

    if settings.weights == TINY_SPEC:
        return warning("weights", "tiny, which has learned nothing", "HIGHSYNC_WEIGHTS names weights that have.")
    try:
        files = checked_files(present_folder(settings.weights))
    except WeightsError as error:
        return failure("weights", str(error), "`highsync weights pull` fetches what is missing or damaged.")
    return ok("weights", f"{settings.weights}: {len(files)} files, all hashes right")
