"""Bundles: what was written is what is loaded, and nothing of a bundle that is not as it says."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from model.checkpoint import CONFIG_FILE, WEIGHT_FILES
from model.errors import ModelError, WeightsError
from model.hashes import file_sha256
from model.hub import parse_hub_spec
from model.weight_bundle import load_bundle, write_bundle
from model.weights import weights_folder
from tests.model.hub import COMMIT, REPOSITORY

SPEC = f"hf://{REPOSITORY}"
Members = list[tuple[tarfile.TarInfo, bytes]]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Be on a machine of this name, with a cache of its own."""

    def of_machine(name: str) -> Path:
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / name))
        return tmp_path / name

    return of_machine


@pytest.fixture
def bundle(tmp_path: Path, cache: Callable[[str], Path]) -> bytes:
    """Of a machine that has downloaded weights in our own layout; their tensors are nobody's business here."""
    cache("connected")
    blobs = parse_hub_spec(SPEC).cache / "blobs"
    blobs.mkdir(parents=True)
    contents = {name: name.encode() * 1000 for name in WEIGHT_FILES}
    names = {}
    for name, content in contents.items():
        (blobs / "new").write_bytes(content)
        names[name] = file_sha256(blobs / "new")
        (blobs / "new").rename(blobs / names[name])
    unet = {"channels": [16, 16, 32, 32], "attention_heads": 1, "norm_groups": 8}
    config = {"name": "a", "trained": True, "model": {"unet": unet, "crop_size": 256}, "files": names}
    (blobs / "config").write_text(json.dumps(config))
    parse_hub_spec(SPEC).publish(COMMIT, {CONFIG_FILE: "config", **names})
    out = io.BytesIO()
    write_bundle(out, SPEC, None)
    cache("air-gapped")
    return out.getvalue()


def unpacked(bundle: bytes) -> Members:
    with tarfile.open(fileobj=io.BytesIO(bundle)) as tar:
        return [(member, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]


def packed(members: Members) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for member, content in members:
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def everything_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def test_a_bundle_makes_the_spec_work_on_another_machine(bundle: bytes) -> None:
    manifest = load_bundle(io.BytesIO(bundle), SPEC, None)

    folder = weights_folder(SPEC)  # would ask the network if anything were missing
    assert (folder / WEIGHT_FILES[0]).read_bytes() == WEIGHT_FILES[0].encode() * 1000
    assert (manifest.commit, folder.name) == (COMMIT, COMMIT)
    assert load_bundle(io.BytesIO(bundle), SPEC, None) == manifest  # once more does no harm


def test_a_bundle_can_be_loaded_into_a_folder(bundle: bytes, tmp_path: Path) -> None:
    load_bundle(io.BytesIO(bundle), str(tmp_path / "lips"), None)

    assert everything_in(tmp_path / "lips") == sorted((CONFIG_FILE, *WEIGHT_FILES))
    with pytest.raises(WeightsError, match=r"There is a .*lips already"):
        load_bundle(io.BytesIO(bundle), str(tmp_path / "lips"), None)


def test_the_detector_travels_too(tmp_path: Path, yunet_path: Path) -> None:
    out = io.BytesIO()
    write_bundle(out, "tiny", yunet_path)

    load_bundle(io.BytesIO(out.getvalue()), "tiny", tmp_path / "models" / "face.onnx")

    assert (tmp_path / "models" / "face.onnx").read_bytes() == yunet_path.read_bytes()


def test_nothing_is_bundled_that_is_not_whole(bundle: bytes, cache: Callable[[str], Path]) -> None:
    with pytest.raises(WeightsError, match="weights pull"):
        write_bundle(io.BytesIO(), SPEC, None)
    cache("connected")
    (weights_folder(SPEC) / WEIGHT_FILES[2]).resolve().write_bytes(b"other")
    with pytest.raises(WeightsError, match="is not the file the Hub announced"):
        write_bundle(io.BytesIO(), SPEC, None)
    with pytest.raises(WeightsError, match="nothing to bundle"):
        write_bundle(io.BytesIO(), "tiny", None)


def manifest_says(change: Callable[[dict[str, Any]], None]) -> Callable[[Members], Members]:
    def changed(members: Members) -> Members:
        (info, content), *rest = members
        manifest = json.loads(content)
        change(manifest)
        text = json.dumps(manifest).encode()
        info.size = len(text)
        return [(info, text), *rest]

    return changed


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


def renamed(name: str) -> Callable[[Members], Members]:
    def changed(members: Members) -> Members:
        members[1][0].name = name
        return manifest_says(lambda manifest: manifest["files"][0].update(name=name))(members)

    return changed


def other_content(members: Members) -> Members:
    info, content = members[2]
    return [*members[:2], (info, content[::-1]), *members[3:]]


def linked(kind: bytes) -> Callable[[Members], Members]:
    return lambda members: [members[0], member(members[1][0].name, kind, "/etc/passwd"), *members[2:]]


ATTACKS: dict[str, tuple[Callable[[Members], Members], str]] = {
    "traversal": (renamed("weights/../../../evil"), "which is no file of weights"),
    "absolute": (renamed("/tmp/evil"), "which is no file of weights"),
    "unknown": (renamed("weights/evil.py"), "which is no file of weights"),
    "symlink": (linked(tarfile.SYMTYPE), "where the plain file"),
    "hard_link": (linked(tarfile.LNKTYPE), "where the plain file"),
    "device": (linked(tarfile.CHRTYPE), "where the plain file"),
    "pipe": (linked(tarfile.FIFOTYPE), "where the plain file"),
    "folder": (linked(tarfile.DIRTYPE), "where the plain file"),
    "damaged": (other_content, "is damaged"),
    "extra": (lambda members: [*members, member("weights/config.json")], "its manifest does not name"),
    "missing": (lambda members: members[:-1], "breaks off before"),
    "out_of_order": (lambda members: [members[0], members[2], members[1], *members[3:]], "where the plain file"),
    "no_manifest": (lambda members: members[1:], "where the plain file manifest.json"),
    "twice": (manifest_says(lambda manifest: manifest["files"].append(manifest["files"][0])), "one of them twice"),
    "no_files": (manifest_says(lambda manifest: manifest["files"].clear()), "names no file"),
    "other_size": (manifest_says(lambda manifest: manifest["files"][1].update(size_bytes=1)), "bytes in the bundle"),
    "negative_size": (manifest_says(lambda manifest: manifest["files"][1].update(size_bytes=-1)), "manifest is none"),
    "commit": (manifest_says(lambda manifest: manifest.update(commit="../../evil")), "names no commit"),
    "other_format": (manifest_says(lambda manifest: manifest.update(format="2")), "manifest is none"),
    "other_spec": (manifest_says(lambda manifest: manifest.update(weights="hf://x/y")), "holds hf://x/y, not"),
}


@pytest.mark.parametrize("attack", sorted(ATTACKS))
def test_nothing_of_a_bundle_that_is_not_as_it_says_is_loaded(bundle: bytes, tmp_path: Path, attack: str) -> None:
    change, complaint = ATTACKS[attack]
    before = everything_in(tmp_path)

    with pytest.raises(WeightsError, match=complaint):
        load_bundle(io.BytesIO(packed(change(unpacked(bundle)))), SPEC, None)

    assert everything_in(tmp_path) == before


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.8])
def test_a_bundle_that_breaks_off_is_not_loaded(bundle: bytes, tmp_path: Path, share: float) -> None:
    before = everything_in(tmp_path)

    with pytest.raises(WeightsError, match="bundle"):
        load_bundle(io.BytesIO(bundle[: int(len(bundle) * share)]), SPEC, None)

    assert everything_in(tmp_path) == before


def test_a_bundle_of_another_detector_is_refused(tmp_path: Path, yunet_path: Path) -> None:
    out = io.BytesIO()
    write_bundle(out, "tiny", yunet_path)
    change = manifest_says(lambda manifest: manifest["files"][0].update(sha256="0" * 64))

    with pytest.raises(ModelError, match="face detector is not the one"):
        load_bundle(io.BytesIO(packed(change(unpacked(out.getvalue())))), "tiny", tmp_path / "face.onnx")
