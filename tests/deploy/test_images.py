"""What Dockerfile.gpu puts into the images."""

import re
from pathlib import PurePosixPath

from core import __version__
from tests.deploy.conftest import ROOT


def stage_of(dockerfile: list[str], name: str) -> list[str]:
    """The instructions of one stage."""
    starts = [number for number, line in enumerate(dockerfile) if line.startswith("FROM ")]
    for start, stop in zip(starts, [*starts[1:], len(dockerfile)], strict=True):
        if dockerfile[start].endswith(f" AS {name}"):
            return dockerfile[start:stop]
    raise AssertionError(f"there is no stage {name}")


def test_one_file_has_both_targets_on_a_base_that_can_be_pinned(dockerfile: list[str]) -> None:
    bases = [line.split()[1] for line in dockerfile if line.startswith("FROM ")]
    stages = {line.split()[3] for line in dockerfile if line.startswith("FROM ")}
    assert {"api", "worker"} <= stages
    assert set(bases) <= stages | {"${PYTHON_IMAGE}"}
    assert dockerfile[0].startswith("ARG PYTHON_IMAGE=")


def test_every_package_is_installed_by_its_hash_and_none_is_compiled(dockerfile: list[str]) -> None:
    installs = [line for line in dockerfile if " install --" in line and "pip" in line]
    assert len(installs) == 3
    assert all("--require-hashes" in line for line in installs)
    assert any("PIP_ONLY_BINARY=:all:" in line for line in dockerfile)


def test_both_images_run_as_a_user_without_rights(dockerfile: list[str]) -> None:
    assert "USER highsync" in stage_of(dockerfile, "runtime")
    for target in ("api", "worker"):
        assert stage_of(dockerfile, target)[0] == f"FROM runtime AS {target}"
        assert not any(line.startswith("USER") for line in stage_of(dockerfile, target))


def test_the_labels_say_what_an_image_is(dockerfile: list[str]) -> None:
    for target in ("api", "worker"):
        stages = [*stage_of(dockerfile, "runtime"), *stage_of(dockerfile, target)]
        labels = " ".join(line for line in stages if line.startswith("LABEL "))
        said = set(re.findall(r"org\.opencontainers\.image\.([\w.]+)=", labels))
        assert said == {"vendor", "licenses", "base.name", "version", "revision", "title", "description"}
    assert f"ARG VERSION={__version__}" in dockerfile


def test_an_image_ends_as_its_process_does_and_says_whether_it_is_healthy(dockerfile: list[str]) -> None:
    assert "STOPSIGNAL SIGTERM" in stage_of(dockerfile, "runtime")  # the parent gives the job back: worker.parent
    for target in ("api", "worker"):
        stage = stage_of(dockerfile, target)
        assert any(line.startswith("HEALTHCHECK ") for line in stage)
        (command,) = [line for line in stage if line.startswith("CMD ")]
        assert command.startswith('CMD ["python", ')  # no shell between the signal and the process


def test_nothing_but_the_environment_comes_from_where_it_was_installed(dockerfile: list[str]) -> None:
    """So no compiler, no cache and no lock file is left in an image, even if a builder had one."""
    for target in ("api", "worker"):
        copied = [line.split() for line in stage_of(dockerfile, target) if line.startswith("COPY --from=")]
        assert [words[1:] for words in copied] == [[f"--from={target}-venv", "/opt/venv", "/opt/venv"]]
    assert not any("apt" in line for line in dockerfile)


def test_a_new_version_is_a_small_layer_on_top(dockerfile: list[str]) -> None:
    assert not any(line.startswith("COPY") or "REVISION" in line for line in stage_of(dockerfile, "runtime"))
    for target in ("api", "worker"):
        changes = [line for line in stage_of(dockerfile, target) if line.startswith("COPY ") or "REVISION" in line]
        assert changes[0].startswith("COPY --from=")
        assert changes[-1].startswith("LABEL ")


def test_a_read_only_worker_writes_to_its_volumes_only(dockerfile: list[str]) -> None:
    (volumes,) = [line for line in dockerfile if line.startswith("VOLUME ")]
    places = re.findall(r'"(/\w+)"', volumes)
    settings = " ".join(line for line in dockerfile if line.startswith("ENV "))
    written = re.findall(r"(?:HF_HOME|HIGHSYNC_SCRATCH_DIR)=(\S+)", settings)
    assert len(written) == 2
    for path in written:
        assert any(PurePosixPath(path).is_relative_to(place) for place in places), path


def test_the_api_image_holds_nothing_of_the_model(dockerfile: list[str]) -> None:
    copied = {line.split()[1] for line in stage_of(dockerfile, "api") if line.startswith("COPY ")}
    assert copied.isdisjoint({"model/", "worker/"})


def test_all_that_is_copied_is_sent_to_the_builder(dockerfile: list[str]) -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    patterns = [re.compile(re.escape(line).replace(r"/\*\*", "(/.*)?").replace(r"\*", "[^/]*")) for line in allowed]
    for line in dockerfile:
        if line.startswith("COPY ") and "--from=" not in line:
            for source in line.split()[1:-1]:
                path = source.replace("${TORCH}", "cpu").rstrip("/")
                assert (ROOT / path).exists(), path
                assert any(pattern.fullmatch(path) for pattern in patterns), path


def test_nothing_is_used_that_buildah_does_not_know(dockerfile: list[str]) -> None:
    assert not any(line.startswith(("RUN", "COPY")) and "<<" in line for line in dockerfile)
