"""What is downloaded of the Hub, and what a broken connection, another file or a silent network come to."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
from huggingface_hub import constants

from model.checkpoint import CONFIG_FILE, WEIGHT_FILES
from model.errors import WeightsError
from model.fetching import Transfer
from model.weights import weights_folder
from tests.model.hub import COMMIT, REPOSITORY, Hub, faulty_hub_of
from tests.servers import free_port

SPEC = f"hf://{REPOSITORY}"
LARGE = WEIGHT_FILES[0]
BYTES = 1_000_000
BLOCK = 1 << 16


class Serve(Protocol):
    def __call__(self, **faults: Any) -> AbstractContextManager[Hub]: ...


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Files with the names of our own layout; nobody looks into them here."""
    folder = tmp_path / "published"
    folder.mkdir()
    for name in (CONFIG_FILE, *WEIGHT_FILES):
        (folder / name).write_bytes(name.encode() * 10)
    (folder / LARGE).write_bytes(bytes(range(250)) * (BYTES // 250))
    return folder


def use(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the Hub's library ask this address; it reads HF_ENDPOINT only when it is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", BLOCK)
    return tmp_path / "cache" / "models--studio--lips"


@pytest.fixture
def serve(published: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Serve:
    @contextmanager
    def started(**faults: Any) -> Iterator[Hub]:
        with faulty_hub_of(published, **faults) as hub:
            use(hub.address, monkeypatch)
            yield hub

    return started


def same(folder: Path, published: Path) -> bool:
    return all((folder / path.name).read_bytes() == path.read_bytes() for path in published.iterdir())


def test_a_connection_that_breaks_is_taken_up_where_it_broke(serve: Serve, published: Path) -> None:
    told: list[Transfer] = []
    with serve(breaks={LARGE: [4 * BLOCK + 5]}) as hub:
        folder = weights_folder(SPEC, told.append)

    assert same(folder, published)
    first, second = hub.ranges_of(LARGE)
    assert first is None
    assert second == f"bytes={4 * BLOCK}-"
    received = [transfer.received_bytes for transfer in told if transfer.file.name == LARGE]
    assert received == sorted(received)
    assert received[-1] == BYTES


def test_a_download_that_was_killed_goes_on_in_the_next_process(serve: Serve, published: Path, cache: Path) -> None:
    def die(transfer: Transfer) -> None:
        if transfer.file.name == LARGE and transfer.received_bytes >= 3 * BLOCK:
            raise KeyboardInterrupt

    with serve() as hub:
        with pytest.raises(KeyboardInterrupt):
            weights_folder(SPEC, die)
        assert not (cache / "snapshots").exists()  # nothing to see before all is there
        assert same(weights_folder(SPEC), published)

    assert hub.ranges_of(LARGE) == [None, f"bytes={3 * BLOCK}-"]
    assert hub.ranges_of(CONFIG_FILE) == [None]  # what was complete is not fetched again


@pytest.mark.parametrize("name", [LARGE, CONFIG_FILE], ids=["sha256", "git"])
def test_a_file_with_another_hash_than_announced_is_refused(serve: Serve, cache: Path, name: str) -> None:
    with (
        serve(lies=frozenset({name})),
        pytest.raises(WeightsError, match=rf"{re.escape(name)} is not what was announced"),
    ):
        weights_folder(SPEC)

    assert not (cache / "snapshots").exists()
    assert not list(cache.glob("blobs/*.part"))


def test_what_is_there_is_taken_without_asking(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve() as hub:
        folder = weights_folder(SPEC)
        hub.asked.clear()
        assert weights_folder(SPEC) == folder
        assert hub.asked == []
        assert weights_folder(SPEC, update=True) == folder
        assert [path for path, _ in hub.asked] == [f"/api/models/{REPOSITORY}/revision/main?blobs=true"]
    use(f"http://127.0.0.1:{free_port()}", monkeypatch)
    assert weights_folder(SPEC) == weights_folder(f"{SPEC}@{COMMIT}") == folder


def test_a_damaged_blob_is_fetched_again_on_request(serve: Serve, published: Path) -> None:
    with serve():
        blob = (weights_folder(SPEC) / LARGE).resolve()
        blob.write_bytes(b"damaged")
        assert same(weights_folder(SPEC, update=True), published)


def test_weights_that_do_not_fit_on_the_disk_are_not_begun(
    serve: Serve, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        free = 1000

    monkeypatch.setattr("model.hub.shutil.disk_usage", lambda folder: Full)
    with serve() as hub, pytest.raises(WeightsError, match="has 1000 bytes free; the weights need 100"):
        weights_folder(SPEC)
    assert hub.ranges_of(LARGE) == []
