"""What the house rules promise about the project as a whole."""

import ast
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from core.metrics import STAGE_DURATION_SECONDS
from model.progress import Stage
from worker.progress import SPANS, WorkerStage

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("client", "core", "service", "worker", "model", "cli")
HEAVY = {"torch", "diffusers", "transformers", "av", "cv2", "dlib"}
MAX_FUNCTION_LINES = 60
MAX_TARGETS = 16  # 15, and one more since a studio needs both `backup` and `restore`
HELP_WITHIN_S = 2.0


def modules_of(*packages: str) -> list[str]:
    """Every module of these packages by its dotted name, without those that run when they are imported."""
    paths = [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]
    names = [path.relative_to(ROOT).with_suffix("").parts for path in paths if path.stem != "__main__"]
    return [".".join(name[:-1] if name[-1] == "__init__" else name) for name in names]


def sources() -> Iterator[tuple[Path, ast.Module]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8"))


def imported_modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) and node.module else []


def run_python(program: str, *arguments: str) -> str:
    """What a fresh interpreter prints."""
    command = [sys.executable, "-B", "-c", program, *arguments]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_imports_go_in_the_agreed_direction() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports"))]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


IMPORT_ALL = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))
"""


@pytest.mark.parametrize("package", ["core", "service"])
def test_the_api_never_pulls_in_the_model_or_its_libraries(package: str) -> None:
    loaded = set(json.loads(run_python(IMPORT_ALL, *modules_of(package))))
    assert loaded.isdisjoint(HEAVY | {"model", "worker"})


def test_a_worker_parent_never_pulls_in_torch() -> None:
    """Its forked child could not use CUDA otherwise."""
    loaded = set(json.loads(run_python(IMPORT_ALL, "worker.parent", "worker.celery_app")))
    assert loaded.isdisjoint({"torch", "diffusers", "transformers"})


WATCH_IMPORTS = """
import importlib, json, logging, os, sys, threading

root, deeds = sys.argv[1], []
DEEDS = {"socket.connect", "socket.bind", "socket.getaddrinfo", "subprocess.Popen", "os.mkdir", "os.putenv"}

def whose_import():
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if "site-packages" in name:
            return None
        if name.startswith(root):
            return name
        frame = frame.f_back

def watch(event, args):
    writes = event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")
    if (writes or event in DEEDS) and (culprit := whose_import()):
        deeds.append([culprit, event, repr(args)[:200]])

import av, boto3, celery, cv2, dlib, fastapi, torch  # theirs, and slow to watch
from diffusers import AutoencoderKL
from transformers import WhisperConfig, WhisperModel

sys.addaudithook(watch)
for name in sys.argv[2:]:
    importlib.import_module(name)
if threading.active_count() > 1:
    deeds.append(["threads", str(threading.enumerate())])
if logging.getLogger().handlers:
    deeds.append(["logging", "the root logger has handlers"])
print(json.dumps(deeds))
"""


def test_nothing_happens_at_import() -> None:
    """No file is written, nothing connected, started or configured when any of our modules is imported."""
    assert json.loads(run_python(WATCH_IMPORTS, str(ROOT), *modules_of(*PACKAGES))) == []


def test_each_stage_has_a_file_with_a_function_of_its_name() -> None:
    files = {path.stem for path in (ROOT / "model" / "stages").glob("[!_]*.py")}
    assert files == set(Stage)
    for stage in Stage:
        assert callable(getattr(import_module(f"model.stages.{stage}"), stage)), stage


def test_the_worker_knows_how_far_each_stage_brings_a_job() -> None:
    assert set(SPANS) == set(Stage) | set(WorkerStage)
    assert STAGE_DURATION_SECONDS._labelnames == ("stage",)


def test_help_is_quick_and_loads_no_heavy_library() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "cli", "--help"]
    seconds = []
    for _ in range(3):  # the quickest counts: other tests share this machine
        started = time.monotonic()
        result = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        seconds.append(time.monotonic() - started)
        loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in result.stderr.splitlines()}
        assert "typer" in loaded
        assert loaded.isdisjoint(HEAVY)
    assert min(seconds) < HELP_WITHIN_S


def test_make_has_few_targets_and_lists_them_all() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]\w*):(?! export)", makefile, re.MULTILINE))
    listed = set(re.findall(r"make (\w+)", subprocess.check_output(["make", "help"], cwd=ROOT, text=True)))
    assert {"setup", "demo", "test"} <= targets
    assert len(targets) <= MAX_TARGETS
    assert targets <= listed


def test_the_cuda_device_is_named_in_one_place() -> None:
    naming = {
        str(path)
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"cuda(:\d+)?", node.value)
    }
    assert naming == {"worker/model_host.py"}


def test_services_reach_strangers_by_one_door() -> None:
    """Modules that could open a connection of their own.

    The worker's child only asks for the name of its host, and the API's servers only listen; a decoder and its parent
    talk over a pair of sockets.
    """
    clients = {"aiohttp", "ftplib", "http", "httpcore", "httpx", "requests", "socket", "urllib.request", "urllib3"}
    naming = {
        str(path)
        for path, tree in sources()
        for node in ast.walk(tree)
        for name in imported_modules(node)
        if path.parts[0] in ("core", "service", "worker", "model") and clients & {name, name.partition(".")[0]}
    }
    doors = {str(path) for path, _ in sources() if path.parts[:2] == ("core", "outgoing")}
    pair = {"model/media/sandbox/__main__.py", "model/media/sandbox/decoder.py"}
    assert naming - doors - pair == {
        "core/storage/local.py",
        "service/replicas.py",
        "service/server.py",
        "worker/child.py",
    }
    assert naming & doors


def test_media_is_opened_for_reading_in_one_place() -> None:
    """Import contracts keep the rest of the project from that place; this keeps it from a door of its own."""
    reading = {
        str(path)
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"av.open", "cv2.VideoCapture"}
        if not any(ast.unparse(argument) == "'w'" for argument in node.args)
    }
    assert reading == {"model/media/decoding/container.py"}


def test_functions_fit_a_screen() -> None:
    too_long = [
        f"{path}:{node.lineno} {node.name}"
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > MAX_FUNCTION_LINES
    ]
    assert too_long == []


def test_the_project_stands_alone() -> None:
    """What may lie beside a checkout is only a default that the environment or a command can replace, and no page is
    named that the project does not have."""
    folder = "../" + "shared"
    pages = [name + ending for name, ending in (("highsync", ".md"), ("platform", "-facts"), ("service", "-facts"))]
    tracked = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    contents = {name: (ROOT / name).read_bytes() for name in tracked if (ROOT / name).is_file()}
    assert {name for name, content in contents.items() if folder.encode() in content} <= {"Makefile", ".ci/run"}
    for page in (*pages, "style" + ".md"):
        assert [name for name, content in contents.items() if page.encode() in content] == [], page
