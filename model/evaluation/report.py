"""Scores of many clips as a table, as JSON and as plots."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from model.evaluation.agreement import Curve
from model.evaluation.intervals import Estimate, bootstrap
from model.evaluation.scores import METRICS, NEED_WEIGHTS, Metric, Scores

_SHOWN_CURVES = 6
_DIGITS = 6


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """A clip with its scores, and the curves behind them: how far its mouth opens and how far it should, (F,)."""

    name: str
    scores: Scores
    opening: Curve | None
    asked: Curve | None


@dataclass(frozen=True, slots=True)
class Report:
    """The scores of a system, clip by clip, and the mean of each metric with its interval."""

    system: str
    clips: tuple[Scored, ...]
    means: Mapping[str, Estimate]
    seed: int


def summarise(system: str, clips: Sequence[Scored], seed: int) -> Report:
    """Means over the clips for which a metric is defined, with intervals. seed: of the resampling."""
    return Report(system, tuple(clips), {metric.name: _mean(metric, clips, seed) for metric in METRICS}, seed)


def write_report(report: Report, folder: Path) -> None:
    """Write `results.json`, `results.md`, `scores.png` and, where openings are known, `openings.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(to_json(report), encoding="utf-8")
    (folder / "results.md").write_text(to_markdown(report), encoding="utf-8")
    _plot_scores(report, folder / "scores.png")
    _plot_openings(report, folder / "openings.png")


def to_json(report: Report) -> str:
    """The report; null where a metric is not defined, "Infinity" for the PSNR of identical pictures."""
    content = {
        "system": report.system,
        "seed": report.seed,
        "metrics": {
            metric.name: {
                "title": metric.title,
                "unit": metric.unit,
                "better": metric.better,
                "clips": report.means[metric.name].clips,
                "mean": _number(report.means[metric.name].mean),
                "low": _number(report.means[metric.name].low),
                "high": _number(report.means[metric.name].high),
            }
            for metric in METRICS
        },
        "absent": list(NEED_WEIGHTS),
        "clips": {
            clip.name: {metric.name: _number(_shown(metric, clip.scores[metric.name])) for metric in METRICS}
            for clip in report.clips
        },
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def to_markdown(report: Report) -> str:
    """The table of means."""
    rows = [_row(metric, report.means[metric.name]) for metric in METRICS]
    table = "\n".join(["| metric | better | mean | 95 % interval | clips |", "|---|---|---|---|---|", *rows])
    return (
        f"# {report.system}\n\n{len(report.clips)} clips; intervals by bootstrap over clips, seed {report.seed}. "
        f"n/a: not defined for any clip.\n\n{table}\n\n"
        f"Not computed, because they need weights that do not ship: {', '.join(NEED_WEIGHTS)}.\n"
    )


def _mean(metric: Metric, clips: Sequence[Scored], seed: int) -> Estimate:
    """The mean as it is shown, for PSNR that of the mean squared error."""
    scores = [clip.scores[metric.name] for clip in clips]
    estimate = bootstrap([value for value in scores if value is not None], seed)
    ends = [_shown(metric, value) for value in (estimate.low, estimate.high)]
    low, high = sorted(ends, key=lambda end: -math.inf if end is None else end)
    return replace(estimate, mean=_shown(metric, estimate.mean), low=low, high=high)


def _shown(metric: Metric, value: float | None) -> float | None:
    return None if value is None else metric.shown(value)


def _number(value: float | None) -> float | str | None:
    if value is None:
        return None
    return "Infinity" if math.isinf(value) else round(float(value), _DIGITS)


def _row(metric: Metric, mean: Estimate) -> str:
    title = f"{metric.title}, {metric.unit}" if metric.unit else metric.title
    interval = "n/a" if mean.low is None else f"{_text(mean.low)} to {_text(mean.high)}"
    return f"| {title} | {metric.better or 'neither'} | {_text(mean.mean)} | {interval} | {mean.clips} |"


def _text(value: float | None) -> str:
    if value is None:
        return "n/a"
    return "identical" if math.isinf(value) else f"{value:.3g}"


def _plot_scores(report: Report, path: Path) -> None:
    """Every clip as a dot, beside the mean and its interval."""
    from matplotlib.figure import Figure

    columns = 4
    figure = Figure(figsize=(3.2 * columns, 2.6 * -(-len(METRICS) // columns)), layout="constrained")
    for place, metric in enumerate(METRICS, start=1):
        axes = figure.add_subplot(-(-len(METRICS) // columns), columns, place)
        axes.set_title(f"{metric.name} {metric.unit}", fontsize=9)
        shown = [_shown(metric, clip.scores[metric.name]) for clip in report.clips]
        values = [value for value in shown if value is not None and math.isfinite(value)]
        spread = [0.3 * (index * 0.618 % 1.0 - 0.5) for index in range(len(values))]
        axes.plot(spread, values, ".", color="tab:blue", alpha=0.5)
        mean = report.means[metric.name]
        if mean.mean is not None and mean.low is not None and mean.high is not None and math.isfinite(mean.high):
            axes.errorbar(
                *([0.4], [mean.mean], [[mean.mean - mean.low], [mean.high - mean.mean]]),
                fmt="o", color="black", capsize=4,
            )  # fmt: skip
        if not values:
            axes.text(0.5, 0.5, "n/a", ha="center", transform=axes.transAxes)
        axes.set_xlim(-0.4, 0.7)
        axes.set_xticks([])
    figure.savefig(path, dpi=100, metadata={"Software": None})


def _plot_openings(report: Report, path: Path) -> None:
    """What the mouths of the first clips do, and what they should."""
    from matplotlib.figure import Figure

    known = [clip for clip in report.clips if clip.opening is not None and clip.asked is not None][:_SHOWN_CURVES]
    if not known:
        path.unlink(missing_ok=True)
        return
    figure = Figure(figsize=(10, 1.6 * len(known) + 0.6), layout="constrained")
    for place, clip in enumerate(known, start=1):
        axes = figure.add_subplot(len(known), 1, place)
        axes.set_title(clip.name, fontsize=9, loc="left")
        for curve, label, color in ((clip.asked, "asked for", "tab:gray"), (clip.opening, "seen", "tab:blue")):
            if curve is not None:
                axes.plot(curve, label=label, color=color)
        axes.set_ylabel("faces", fontsize=8)
    figure.axes[0].legend(fontsize=8, loc="upper right")
    figure.axes[-1].set_xlabel("frame")
    figure.savefig(path, dpi=100, metadata={"Software": None})
