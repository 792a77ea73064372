"""Two plots of a run, as SVG: the same figures give the same bytes, and both themes of the site can show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.ticker import StrMethodFormatter

INK = "#7d8590"  # dark enough on white, light enough on slate
LOOKS = {
    "ours": ("delayserver", "#009485"),
    "bare": ("sleep, then ZADD", INK),
    "celery": ("Celery", "#e36209"),
    "huey": ("huey", "#8a63d2"),
    "arq": ("arq", "#bf3989"),
    "stock": ("delayserver, runworker", "#0969da"),
}
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "delayserver",
    "svg.fonttype": "none",  # the reader's own font: smaller, and can be searched
    "font.size": 10,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": INK,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def draw(curves: Mapping[str, Any], folder: Path) -> None:
    """Write ``lateness.svg`` and ``growth.svg``, as far as `curves` has them."""
    with mpl.rc_context(STYLE):
        if "lateness" in curves:
            _lateness(curves["lateness"], folder / "lateness.svg")
        if "growth" in curves:
            _growth(curves["growth"], folder / "growth.svg")


def _lateness(curves: Mapping[str, Sequence[float]], path: Path) -> None:
    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    for name, values in curves.items():
        label, color = LOOKS[name]
        shares = [100 * n / (len(values) - 1) for n in range(len(values))]
        axes.plot(values, shares, color=color, label=label, linestyle="--" if name == "bare" else "-")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.set_xlabel("ms from due to the handler, 200 messages a second")
    axes.set_ylabel("% of messages")
    axes.grid(visible=True)
    figure.legend(loc="outside upper center", ncols=3)
    _save(figure, path)


def _growth(sizes: Sequence[Mapping[str, float]], path: Path) -> None:
    figure, (late, puts) = plt.subplots(1, 2, figsize=(7, 3.2), layout="constrained")
    pending = [size["pending"] for size in sizes]
    color = LOOKS["ours"][1]
    late.plot(pending, [size["p99"] for size in sizes], "o-", color=color, label="p99")
    late.plot(pending, [size["p50"] for size in sizes], "o--", color=color, label="p50")
    late.set_ylabel("ms late on the channel, 200/s")
    late.set_ylim(0, 1.4 * max(size["p99"] for size in sizes))
    late.legend(loc="upper center", ncols=2)
    puts.plot(pending, [100 * size["ratio"] for size in sizes], "o-", color=color)
    puts.set_ylim(0, 110)
    puts.set_ylabel("put, % of an awaited ZADD")
    for axes in (late, puts):
        axes.set_xscale("log")
        axes.set_xticks(pending, [f"{number:,}" for number in pending])
        axes.minorticks_off()
        axes.set_xlabel("messages pending")
        axes.grid(visible=True)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, transparent=True, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    lines = path.read_text().splitlines()
    path.write_text("".join(f"{line.rstrip()}\n" for line in lines))
