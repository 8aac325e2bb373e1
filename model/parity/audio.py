"""Checks of the audio path: log-mel, encoder states, the rows each frame hears, lengths."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.audio.encoder import OPENAI_DIMS, AudioEncoder, openai_to_transformers
from model.audio.features import COLUMNS_PER_ROW, ROWS_PER_SECOND, AudioFeatures, rows_around
from model.audio.log_mel import SAMPLE_RATE_HZ, LogMel, mel_filters
from model.parity.checks import EXACT, Check, array_error, equality_error, stats_error, worst
from model.parity.rules import ANALYTIC_SUFFIXES, Goldens
from model.stages.encode_audio import encode_audio

FEATURES_TOLERANCE = 1e-4
LOG_MEL_TOLERANCE = 1e-5
TABLE_TOLERANCE = 1e-6


def check_audio(goldens: Goldens) -> Iterator[Check]:
    """From waveforms made by formula to the features of their frames."""
    golden, arrays = goldens.json("whisper.json"), goldens.arrays("whisper_chunks.npz")
    filters = mel_filters()
    yield Check("mel filters", stats_error(filters, golden["mel_filterbank"]), LOG_MEL_TOLERANCE)
    sums, peaks = golden["mel_filterbank"]["row_sums"], golden["mel_filterbank"]["row_peak_bin"]
    yield Check("mel filters, areas", array_error(filters.sum(dim=1), sums), LOG_MEL_TOLERANCE)
    yield Check("mel filters, peaks", equality_error(filters.argmax(dim=1).tolist(), peaks), EXACT)
    encoder = AudioEncoder.from_openai_state(rule_state(goldens)).to(goldens.device)
    yield from _check_encoder(goldens, encoder)
    for name in ("a", "b"):
        yield from _check_voice(goldens, name, golden[name], arrays, encoder)


def rule_state(goldens: Goldens) -> dict[str, Tensor]:
    """Rule weights of the encoder under the names of the published checkpoint."""
    shapes = dict(goldens.json("manifest_whisper_encoder.json")["tensors"])
    table = AudioEncoder.untrained(seed=0).whisper.embed_positions.weight
    return {
        key: table if key.endswith(ANALYTIC_SUFFIXES) else goldens.weight(key, shape) for key, shape in shapes.items()
    }


def _check_encoder(goldens: Goldens, encoder: AudioEncoder) -> Iterator[Check]:
    """Its tensors are the published ones but for the final norm, which nothing here uses."""
    manifest = goldens.json("manifest_whisper_encoder.json")
    shapes: dict[str, list[int]] = dict(manifest["tensors"])
    own = {key: list(tensor.shape) for key, tensor in encoder.whisper.state_dict().items()}
    used = {openai_to_transformers(key): shape for key, shape in shapes.items() if ".ln_post." not in key}
    yield Check("audio encoder, keys and shapes", equality_error(own, used), EXACT)
    dims = {name: manifest["dims"].get(name) for name in OPENAI_DIMS}
    yield Check("audio encoder, dimensions", equality_error(OPENAI_DIMS, dims), EXACT)
    count = sum(int(np.prod(shape)) for key, shape in shapes.items() if not key.endswith(ANALYTIC_SUFFIXES))
    yield Check("audio encoder, parameters", equality_error(count, manifest["total_parameters"]), EXACT)
    entries: dict[str, float] = manifest["positional_embedding_samples"]
    table = encoder.whisper.embed_positions.weight
    positions = [float(table[tuple(int(index) for index in entry.split(","))]) for entry in entries]
    yield Check("audio encoder, position table", array_error(positions, list(entries.values())), TABLE_TOLERANCE)


def _check_voice(
    goldens: Goldens, name: str, golden: dict[str, Any], arrays: Any, encoder: AudioEncoder
) -> Iterator[Check]:
    samples = waveform(goldens, golden)
    digest = sha256(samples.astype("<i2").tobytes()).hexdigest()
    yield Check(f"voice {name}, waveform", equality_error(digest, golden["int16_sha256"]), EXACT)
    voice = (samples / 32768).astype(np.float32)
    log_mel = LogMel(voice)
    columns = torch.cat(
        [log_mel.segment(index)[:, : log_mel.columns_of(index)] for index in range(log_mel.segments)], 1
    )
    yield Check(f"voice {name}, log-mel", stats_error(columns, golden["log_mel"]), LOG_MEL_TOLERANCE)
    first = arrays[f"{name}_log_mel_first_8_frames"]
    yield Check(f"voice {name}, log-mel start", array_error(columns[:, :8], first), LOG_MEL_TOLERANCE)

    features = encode_audio(encoder, voice)
    yield Check(f"voice {name}, rows", equality_error(features.num_rows, golden["T"]), EXACT)
    rows = features.rows(torch.arange(features.num_rows))
    yield Check(f"voice {name}, states", stats_error(rows, golden["features"]), FEATURES_TOLERANCE)
    yield Check(f"voice {name}, last row", stats_error(rows[-1], golden["features_last"]), FEATURES_TOLERANCE)
    yield worst(f"voice {name}, first row", map(stats_error, rows[0], golden["features_first_row"]), FEATURES_TOLERANCE)
    first_segment = encoder(log_mel.segment(0)[None].to(encoder.device))[0]
    layers = map(stats_error, first_segment.unbind(dim=1), golden["first_segment_all_layers"])
    yield worst(f"voice {name}, first segment", layers, FEATURES_TOLERANCE)
    border = golden.get("features_around_segment_boundary", [])
    if border:
        errors = [stats_error(rows[record["t"]], record) for record in border]
        yield worst(f"voice {name}, segment border", errors, FEATURES_TOLERANCE)
    yield from _check_frames(name, golden, arrays, features)


def _check_frames(name: str, golden: dict[str, Any], arrays: Any, features: AudioFeatures) -> Iterator[Check]:
    fps = golden["fps"]
    count = published_frames(features.num_rows, fps)
    yield Check(f"voice {name}, frames", equality_error(count, golden["F"]), EXACT)
    chunks: Tensor = features.at([frame / fps for frame in range(count)])
    yield Check(f"voice {name}, features", stats_error(chunks, golden["chunks"]), FEATURES_TOLERANCE)
    errors = [stats_error(chunks[record["frame"]], record) for record in golden["chunks_per_frame"]]
    yield worst(f"voice {name}, features by frame", errors, FEATURES_TOLERANCE)
    yield Check(
        f"voice {name}, features of frames {golden['npz_frames']}",
        array_error(chunks[golden["npz_frames"]], arrays[f"{name}_chunks"]),
        FEATURES_TOLERANCE,
    )


def check_audio_indices(goldens: Goldens) -> Iterator[Check]:
    """Which rows a frame hears at several frame rates, and how many rows and frames a voice has."""
    golden = goldens.json("whisper.json")
    for record in golden["index_behaviour"]:
        fps, num_rows = record["fps"], record["T"]
        heard = {frame: rows_around(int(frame) / fps, num_rows) for frame in record["feature_rows_used_by_frame"]}
        same = heard == record["feature_rows_used_by_frame"] and published_frames(num_rows, fps) == record["F"]
        yield Check(f"rows heard at {fps} fps of {num_rows}", equality_error(same, True), EXACT)
    lengths = [_lengths(record["num_samples"]) for record in golden["length_behaviour"]]
    yield Check("lengths of voices", equality_error(lengths, golden["length_behaviour"]), EXACT)


def _lengths(num_samples: int) -> dict[str, int]:
    log_mel = LogMel(np.zeros(num_samples, dtype=np.float32))
    num_rows = sum(log_mel.columns_of(index) // COLUMNS_PER_ROW for index in range(log_mel.segments))
    return {
        "num_samples": num_samples,
        "mel_frames": log_mel.columns,
        "T": num_rows,
        "F_at_25fps": published_frames(num_rows, 25),
    }


def published_frames(num_rows: int, fps: float) -> int:
    """How many frames the published program takes from a voice: up to the first one beyond its rows, that included."""
    frame = 0
    while int(frame * ROWS_PER_SECOND / fps) <= num_rows:
        frame += 1
    return frame + 1


def waveform(goldens: Goldens, golden: dict[str, Any]) -> NDArray[np.int64]:
    """A voice-like sound by formula, as 16-bit samples."""
    count = round(SAMPLE_RATE_HZ * golden["seconds"])
    time, turn = np.arange(count) / SAMPLE_RATE_HZ, 2 * np.pi
    sound = 0.30 * np.sin(turn * 220 * time) * (0.5 + 0.5 * np.sin(turn * 3 * time))
    sound += 0.15 * np.sin(turn * 660 * time + 0.7)
    sound += 0.08 * np.sin(turn * 1750 * time) * (0.5 + 0.5 * np.sin(turn * 1.3 * time))
    sound += 0.05 * goldens.draw(f"input:{golden['noise_name']}", (count,))
    return np.clip(np.rint(32767 * sound), -32768, 32767).astype(np.int64)
