"""Repositories of the Hugging Face Hub: downloaded once into the Hub's cache, by hash, and read from there."""

import os
import re
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, constants, hf_hub_url
from huggingface_hub.errors import HFValidationError, HTTPError  # type: ignore[attr-defined]  # of its HTTP library
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import (  # type: ignore[attr-defined]  # it loads lazily
    WeakFileLock,
    build_hf_headers,
    validate_repo_id,
)

from model.errors import WeightsError
from model.fetching import RemoteFile, Tell, fetch
from model.hashes import announced_hash, is_announced_hash

HUB_PREFIX = "hf://"
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class HubRepository:
    """A revision of a repository. The cache has the Hub's own layout: blobs, and snapshots that link to them."""

    name: str
    revision: str

    @property
    def spec(self) -> str:
        """`hf://owner/name`, with `@revision` unless that is the default."""
        pin = "" if self.revision == constants.DEFAULT_REVISION else f"@{self.revision}"
        return f"{HUB_PREFIX}{self.name}{pin}"

    @property
    def cache(self) -> Path:
        """Where everything of this repository lies."""
        return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=self.name, repo_type="model")

    def commit(self) -> str | None:
        """The commit that the revision stood for when it was last downloaded."""
        if COMMIT.fullmatch(self.revision):
            return self.revision
        ref = self.cache / "refs" / self.revision
        return ref.read_text(encoding="utf-8").strip() if ref.is_file() else None

    def snapshot(self) -> Path | None:
        """The folder of that commit. It may lack files."""
        commit = self.commit()
        folder = self.cache / "snapshots" / commit if commit else None
        return folder if folder is not None and folder.is_dir() else None

    def publish(self, commit: str, blobs: Mapping[str, str]) -> Path:
        """Let the revision be a commit. blobs: the name of the blob of each file; all of them have to be there."""
        folder = self.cache / "snapshots" / commit
        for name, blob in blobs.items():
            link, new = folder / name, folder / f"{name}.new"
            new.parent.mkdir(parents=True, exist_ok=True)
            new.unlink(missing_ok=True)
            new.symlink_to(os.path.relpath(self.cache / "blobs" / blob, new.parent))
            new.replace(link)
        if self.revision != commit:
            ref = self.cache / "refs" / self.revision
            new = ref.with_name(f"{ref.name}.new")
            new.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(commit, encoding="utf-8")
            new.replace(ref)
        return folder


def parse_hub_spec(spec: str) -> HubRepository:
    """What `hf://owner/name[@revision]` names. Raises WeightsError."""
    name, _, revision = spec.removeprefix(HUB_PREFIX).partition("@")
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise WeightsError(f"{spec} cannot be downloaded: {error}") from error
    return HubRepository(name, revision or constants.DEFAULT_REVISION)


def download(repository: HubRepository, choose: Callable[[Collection[str]], Collection[str]], tell: Tell) -> Path:
    """
    Download the files that `choose` takes of those in the repository, and return their folder. Blobs that are there
    already are kept if they have their hash. Two processes that want the same do it one after the other.

    Raises WeightsError.
    """
    try:
        repository.cache.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(repository.cache / "download.lock"):
            return _download(repository, choose, tell)
    except (OSError, HTTPError) as error:
        raise WeightsError(f"{repository.spec} cannot be downloaded and is not in the Hub's cache: {error}") from error


def _download(repository: HubRepository, choose: Callable[[Collection[str]], Collection[str]], tell: Tell) -> Path:
    commit, files = _announced(repository, choose)
    blobs = repository.cache / "blobs"
    missing = [file for file in files if not _is_whole(blobs / file.digest, file.digest)]
    check_space(repository.cache, sum(file.size_bytes for file in missing))
    for file in missing:
        fetch(file, blobs / file.digest, build_hf_headers(), tell)
    return repository.publish(commit, {file.name: file.digest for file in files})


def _announced(
    repository: HubRepository, choose: Callable[[Collection[str]], Collection[str]]
) -> tuple[str, list[RemoteFile]]:
    """The revision's commit, and the chosen files with the hashes that the Hub has of them."""
    info = HfApi().model_info(repository.name, revision=repository.revision, files_metadata=True)
    there = {sibling.rfilename: sibling for sibling in info.siblings or ()}
    if info.sha is None or not COMMIT.fullmatch(info.sha):
        raise WeightsError(f"The Hub announces no commit of {repository.spec}.")
    files = []
    for name in choose(there.keys()):
        size, digest = there[name].size, there[name].blob_id
        if (large := there[name].lfs) is not None:
            size, digest = large.size, large.sha256
        if size is None or digest is None or not is_announced_hash(digest):
            raise WeightsError(f"The Hub announces no hash of {name} in {repository.spec}.")
        files.append(RemoteFile(name, hf_hub_url(repository.name, name, revision=info.sha), size, digest))
    return info.sha, files


def _is_whole(blob: Path, digest: str) -> bool:
    """Whether a blob is there. A damaged one is removed."""
    if blob.exists() and announced_hash(blob, digest) != digest:
        blob.unlink()
    return blob.exists()


def check_space(folder: Path, size_bytes: int) -> None:
    """Raise WeightsError unless so many bytes fit on the folder's disk."""
    free = shutil.disk_usage(folder).free
    if size_bytes > free:
        raise WeightsError(f"{folder} has {free} bytes free; the weights need {size_bytes}.")
