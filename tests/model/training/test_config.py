"""Settings: strict, and every fault is named."""

import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from model.training.__main__ import main
from model.training.config import ObjectiveConfig, OptimizerConfig, RunConfig, Stage1Config, read_config
from model.training.errors import ConfigError
from tests.model.training.runs import as_toml, stage_1_config

RUN = '[run]\ndataset = "data"\noutput = "out"\nsteps = 5\nbatch_size = 2\n'
START = '[start]\nweights = "weights"\n'


def test_a_file_says_what_the_settings_are(tmp_path: Path) -> None:
    config = stage_1_config(tmp_path, tmp_path / "run", gradient_checkpointing=True)
    (tmp_path / "c.toml").write_text(as_toml(config))

    assert read_config(tmp_path / "c.toml", Stage1Config) == config


def test_what_a_file_leaves_out_is_as_published(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(RUN + START)

    config = read_config(tmp_path / "c.toml", Stage1Config)

    assert (config.optimizer.learning_rate, config.objective.reference_dropout) == (1e-5, 0.1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (RUN + "stpes = 9\n" + START, "no setting run.stpes"),
        (RUN + START + "[extra]\na = 1\n", "no setting extra"),
        (RUN + '[start]\nvae = "v"\n[start.unet]\nchannels = [8, 8, 8, 8]\nwidth = 2\n', "no setting start.unet.width"),
        (RUN.replace("steps = 5", 'steps = "many"') + START, "run.steps: .*integer"),
        (RUN.replace("steps = 5", "steps = 0") + START, "steps has to be 1 or more"),
        (RUN + 'precision = "fp8"\n' + START, "run.precision"),
        (RUN + "ema_decay = 1.0\n" + START, "ema_decay"),
        (RUN, "start: Field required"),
        (RUN + START + 'stable_diffusion = "sd"\n', "one of weights"),
        (RUN + "[start.unet]\nchannels = [8, 8, 8, 8]\n", "need a vae"),
        (RUN + "steps = ", "cannot be read"),
    ],
    ids=[
        *("misspelt", "unknown table", "unknown size", "not a number", "no steps", "precision", "decay"),
        *("no start", "two starts", "no vae", "not TOML"),
    ],
)
def test_a_fault_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.toml").write_text(text)

    with pytest.raises(ConfigError, match=message):
        read_config(tmp_path / "c.toml", Stage1Config)


def test_the_command_says_what_is_wrong_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.toml").write_text(RUN + "speed = 3\n" + START)

    assert main(["stage2", str(tmp_path / "c.toml")]) == 1
    assert capsys.readouterr().err == f"{tmp_path / 'c.toml'}: there is no setting run.speed.\n"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml cannot be read"):
        read_config(tmp_path / "none.toml", Stage1Config)


def test_the_page_shows_every_setting_with_its_default(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "training.md").read_text()
    (tmp_path / "c.toml").write_text(page.partition("```toml\n")[2].partition("```")[0])
    shown = tomllib.loads((tmp_path / "c.toml").read_text())

    config = read_config(tmp_path / "c.toml", Stage1Config)

    assert (config.optimizer, config.objective) == (OptimizerConfig(learning_rate=1e-5), ObjectiveConfig())
    for table, settings in {"run": RunConfig, "optimizer": OptimizerConfig, "objective": ObjectiveConfig}.items():
        assert shown[table].keys() == {field.name for field in fields(settings)}
