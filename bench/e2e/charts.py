"""Draws the charts of a run. Usage: charts.py results.json DIRECTORY

Run by the environment that has matplotlib. One chart a workload, `bench-<workload>.svg` and `.png`:
the median of each contender as a bar, the spread over the rounds as a line on it. A contender that
failed is named with the reason instead of being left out.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

COLOURS = {"ours": "#2563eb", "peer": "#94a3b8", "floor": "#d6b45a"}
MEANING = {"ours": "hisock", "peer": "others", "floor": "floor: no framing, no events"}


def draw(plot: Any, workload: dict[str, Any], caption: str, target: Path) -> None:
    """One workload as a horizontal bar chart."""
    rows = workload["rows"]
    figure, axes = plot.subplots(figsize=(8.6, 1.5 + 0.36 * len(rows)))
    longest = max((max(row["values"], default=0) for row in rows), default=1) or 1
    for place, row in enumerate(rows):
        if row["median"] is None:
            reason = row["failure"][:60]
            axes.text(0, place, f" failed: {reason}", va="center", fontsize=8, color="#b91c1c")
            continue
        axes.barh(place, row["median"], color=COLOURS[row["kind"]], height=0.68)
        low, high = min(row["values"]), max(row["values"])
        axes.plot([low, high], [place, place], color="black", linewidth=1)
        text = f"{row['median']:,.4g}" if row["median"] < 1000 else f"{row['median']:,.0f}"
        axes.text(high + longest * 0.01, place, text, va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), [row["title"] for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, longest * 1.14)
    axes.set_xlabel(f"{workload['unit']}, {workload['better']} is better", fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.xaxis.set_major_formatter("{x:,.4g}" if longest < 1000 else "{x:,.0f}")
    axes.spines[["top", "right"]].set_visible(False)
    kinds = [kind for kind in COLOURS if any(row["kind"] == kind for row in rows)]
    handles = [plot.Rectangle((0, 0), 1, 1, color=COLOURS[kind]) for kind in kinds]
    axes.legend(handles, [MEANING[kind] for kind in kinds], fontsize=7, frameon=False)
    axes.set_title(workload["title"], fontsize=9, loc="left")
    figure.text(0.01, 0.005, caption, fontsize=6, color="#555555")
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    figure.savefig(target.with_suffix(".svg"), metadata={"Date": None})
    figure.savefig(target.with_suffix(".png"), dpi=150)
    plot.close(figure)


def main(source: Path, directory: Path) -> None:
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "hisock"  # the same figures give the same file
    plot: Any = importlib.import_module("matplotlib.pyplot")
    results = json.loads(source.read_text())
    machine = results["machine"]
    caption = (
        f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}; "
        "medians, black line: slowest to fastest round; python -m bench.e2e"
    )
    directory.mkdir(parents=True, exist_ok=True)
    for workload in results["workloads"]:
        draw(plot, workload, caption, directory / f"bench-{workload['name']}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
