"""
Weights and face detector as one tar file, for machines without a network.

The first member is a manifest with the SHA-256 of every file; then come these files, in its order, and nothing else.
The hashes tell damage, not origin: whoever brings a bundle has to be trusted, or the bundle's own hash compared.
"""

import hashlib
import io
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

from pydantic import Field, TypeAdapter, ValidationError

from model.checkpoint import checked_files, weight_files
from model.errors import WeightsError
from model.faces.detector import YUNET_SHA256, read_yunet
from model.hub import COMMIT, HUB_PREFIX, check_space, parse_hub_spec
from model.weights import ALTERNATIVES, FIRST_CHOICES, TINY_SPEC, present_folder

MANIFEST = "manifest.json"
YUNET_MEMBER = "yunet.onnx"
WEIGHTS_FOLDER = "weights/"
KNOWN_FILES = frozenset({*FIRST_CHOICES, *(name for _, names in ALTERNATIVES for name in names)})
MAX_MANIFEST_BYTES = 1 << 20
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class BundledFile:
    """A member of the bundle: `weights/…` or `yunet.onnx`."""

    name: str
    size_bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle holds. weights: their spec if they are the Hub's, of this commit; both None for a folder's."""

    format: Literal["highsync-weights-1"]
    weights: str | None
    commit: str | None
    files: tuple[BundledFile, ...]

    @property
    def has_weights(self) -> bool:
        """Whether there are weights in it, not the face detector alone."""
        return any(file.name != YUNET_MEMBER for file in self.files)


_MANIFEST = TypeAdapter(Manifest)


def write_bundle(out: BinaryIO, spec: str, yunet: Path | None) -> Manifest:
    """
    Write what `spec` and `yunet` name, every file checked. What is to be bundled has to be on this machine.

    Raises WeightsError, DetectorError, OSError.
    """
    sources: dict[str, tuple[Path, str]] = {}
    commit = parse_hub_spec(spec).commit() if spec.startswith(HUB_PREFIX) else None
    if spec != TINY_SPEC:
        folder = present_folder(spec)
        found = checked_files(folder)
        sources |= {f"{WEIGHTS_FOLDER}{path.relative_to(folder)}": (path, sha256) for path, sha256 in found.items()}
    if yunet is not None:
        read_yunet(yunet)
        sources[YUNET_MEMBER] = (yunet, YUNET_SHA256)
    if not sources:
        raise WeightsError(f"There is nothing to bundle: {TINY_SPEC} is built in, and no face detector is named.")
    files = tuple(BundledFile(name, path.stat().st_size, sha256) for name, (path, sha256) in sources.items())
    manifest = Manifest("highsync-weights-1", spec if commit else None, commit, files)
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.GNU_FORMAT) as tar:
        text = _MANIFEST.dump_json(manifest, indent=2)
        tar.addfile(_member(MANIFEST, len(text)), io.BytesIO(text))
        for file in files:
            with sources[file.name][0].open("rb") as content:
                tar.addfile(_member(file.name, file.size_bytes), content)
    return manifest


def _member(name: str, size_bytes: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size_bytes, 0o644
    return info


def load_bundle(bundle: BinaryIO, spec: str, yunet: Path | None) -> Manifest:
    """
    Put a bundle's files where `spec` and `yunet` name them. Nothing is there before every hash is right.

    spec: the one of the bundle, for the Hub's cache, or a folder that does not exist yet. The detector is left out
    where `yunet` is None. Raises WeightsError, OSError.
    """
    with _reading(bundle) as tar:
        manifest = _read_manifest(tar)
        place = _place_of(manifest, spec, yunet)
        place.mkdir(parents=True, exist_ok=True)
        check_space(place, sum(file.size_bytes for file in manifest.files))
        staging = place / ".loading"
        shutil.rmtree(staging, ignore_errors=True)  # what a load that was killed has left
        try:
            for file in manifest.files:
                _extract(tar, file, staging / file.name)
            if (extra := tar.next()) is not None:
                raise WeightsError(f"The bundle holds {extra.name!r}, which its manifest does not name.")
            if manifest.has_weights:
                weight_files(staging / WEIGHTS_FOLDER)
            _publish(manifest, staging, spec, yunet)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return manifest


@contextmanager
def _reading(bundle: BinaryIO) -> Iterator[tarfile.TarFile]:
    """The members one after the other; what is no tar file, or breaks off, is a WeightsError."""
    try:
        with tarfile.open(fileobj=bundle, mode="r|") as tar:
            yield tar
    except (tarfile.TarError, EOFError) as error:
        raise WeightsError(f"The bundle cannot be read, or it breaks off: {error}.") from error


def _next_file(tar: tarfile.TarFile, name: str) -> tarfile.TarInfo:
    """The next member, which has to be a plain file of this very name."""
    member = tar.next()
    if member is None:
        raise WeightsError(f"The bundle breaks off before {name}.")
    if member.name != name or member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        raise WeightsError(f"The bundle holds {member.name!r} where the plain file {name} has to be.")
    return member


def _read_manifest(tar: tarfile.TarFile) -> Manifest:
    member = _next_file(tar, MANIFEST)
    content = tar.extractfile(member)
    if content is None or member.size > MAX_MANIFEST_BYTES:
        raise WeightsError("The bundle's manifest is none.")
    try:
        manifest = _MANIFEST.validate_json(content.read())
    except ValidationError as error:
        raise WeightsError(f"The bundle's manifest is none: {error}") from error
    names = [file.name for file in manifest.files]
    known = {YUNET_MEMBER, *(f"{WEIGHTS_FOLDER}{name}" for name in KNOWN_FILES)}
    if strange := sorted(set(names) - known):
        raise WeightsError(f"The bundle's manifest names {strange[0]!r}, which is no file of weights.")
    if len(set(names)) < len(names) or not names:
        raise WeightsError("The bundle's manifest names no file, or one of them twice.")
    if any(file.name == YUNET_MEMBER and file.sha256 != YUNET_SHA256 for file in manifest.files):
        raise WeightsError(f"The bundle's face detector is not the one with SHA-256 {YUNET_SHA256}.")
    if manifest.weights is not None and not (manifest.commit and COMMIT.fullmatch(manifest.commit)):
        raise WeightsError("The bundle's manifest names no commit.")
    return manifest


def _place_of(manifest: Manifest, spec: str, yunet: Path | None) -> Path:
    """The folder on whose disk the files are put together. WeightsError unless the bundle is for this spec."""
    if not manifest.has_weights:
        if yunet is None:
            raise WeightsError("The bundle holds a face detector only, and HIGHSYNC_YUNET_PATH names no place for it.")
        return yunet.parent
    if spec == TINY_SPEC:
        raise WeightsError(f"The weights are {TINY_SPEC}; say {manifest.weights or 'a folder'} to load the bundle's.")
    if not spec.startswith(HUB_PREFIX):
        if Path(spec).exists():
            raise WeightsError(f"There is a {spec} already; name another folder.")
        return Path(spec).absolute().parent
    if manifest.weights is None or parse_hub_spec(spec) != parse_hub_spec(manifest.weights):
        raise WeightsError(f"The bundle holds {manifest.weights or 'the weights of a folder'}, not {spec}.")
    return parse_hub_spec(spec).cache


def _extract(tar: tarfile.TarFile, file: BundledFile, target: Path) -> None:
    """Write the next member, which has to be this file."""
    member = _next_file(tar, file.name)
    content = tar.extractfile(member)
    if content is None or member.size != file.size_bytes:
        raise WeightsError(f"{file.name} has {member.size} bytes in the bundle, not {file.size_bytes}.")
    digest = hashlib.sha256()
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as out:
        while block := content.read(BLOCK_BYTES):
            digest.update(block)
            out.write(block)
    if digest.hexdigest() != file.sha256:
        raise WeightsError(f"{file.name} in the bundle is damaged: its SHA-256 differs from the manifest's.")


def _publish(manifest: Manifest, staging: Path, spec: str, yunet: Path | None) -> None:
    """Move the files, all of them right, to where they are read."""
    if yunet is not None and (staging / YUNET_MEMBER).exists():
        new = yunet.with_name(f"{yunet.name}.new")
        yunet.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(staging / YUNET_MEMBER, new)
        new.replace(yunet)
    if not manifest.has_weights:
        return
    if not spec.startswith(HUB_PREFIX):
        (staging / WEIGHTS_FOLDER).rename(spec)
        return
    repository = parse_hub_spec(spec)
    (repository.cache / "blobs").mkdir(exist_ok=True)
    blobs = {}
    for file in manifest.files:
        if file.name != YUNET_MEMBER:
            (staging / file.name).replace(repository.cache / "blobs" / file.sha256)
            blobs[file.name.removeprefix(WEIGHTS_FOLDER)] = file.sha256
    repository.publish(manifest.commit or "", blobs)
