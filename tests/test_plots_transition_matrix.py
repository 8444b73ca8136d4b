"""Pictures of chains say what the tables say, and fit their frame."""

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
import pandas as pd
import pytest

from cjlib import plots
from cjlib.errors import Unanswerable
from cjlib.markov import MarkovChain, change_points, fit_by_segment, moved_since

pytestmark = pytest.mark.usefixtures("canvas")
STAGES = ["awareness", "consideration", "purchase", "lost"]


def transitions(seed: int = 0, shift: float = 0.0) -> pd.DataFrame:
    generator, rows = np.random.default_rng(seed), []
    for bucket in range(96):
        for period in range(4):
            late = shift * (period >= 2)
            for origin, chance in {
                "awareness": [0, 0.5 - late, 0.2, 0.3 + late],
                "consideration": [0.3, 0, 0.5, 0.2],
                "purchase": [0.3, 0.1, 0, 0.6],
            }.items():
                drawn = generator.multinomial(20, chance)
                rows += [
                    (bucket, period, origin, target, n)
                    for target, n in zip(STAGES, drawn, strict=True)
                    if n
                ]
    return pd.DataFrame(rows, columns=["bucket", "period", "from_stage", "to_stage", "n"])


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


def inside(ax) -> bool:
    """No text leaves the figure."""
    figure = ax.figure
    figure.canvas.draw()
    width, height = figure.canvas.get_width_height()
    written = [*ax.get_xticklabels(), *ax.get_yticklabels(), ax.title, ax.xaxis.label]
    shown = [text for text in written if text.get_visible() and text.get_text()]
    boxes = [text.get_window_extent() for text in shown]
    return all(
        b.x0 >= -1 and b.y0 >= -1 and b.x1 <= width + 1 and b.y1 <= height + 1 for b in boxes
    )


def test_the_heatmap_writes_probability_interval_and_n_of_each_move_in_the_order_of_the_chain():
    order = ["purchase", "consideration", "awareness", "lost"]
    summary = MarkovChain(states=order).fit(transitions()).summary()
    ax = plots.transition_heatmap(summary, label=str.title)
    row = summary.query("from_stage == 'awareness' and to_stage == 'lost'").iloc[0]
    text = f"{row['probability']:.0%}\n{row['lower']:.0%} to {row['upper']:.0%}\nn {row['n']:,}"
    assert text in texts(ax)
    assert [t.get_text() for t in ax.get_xticklabels()] == [name.title() for name in order]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("to", "from")
    assert inside(ax)


def test_long_names_are_shortened_not_cut():
    long = "a stage with a name that nobody would like to read to its end"
    frame = transitions().replace({"awareness": long})
    ax = plots.transition_heatmap(MarkovChain().fit(frame).summary())
    assert any(t.get_text().endswith("…") for t in ax.get_yticklabels())
    assert inside(ax)


def test_segments_stand_side_by_side_with_the_same_rows_and_columns():
    moves = transitions().assign(segment="all")
    few = moves[moves["from_stage"] == "purchase"].assign(segment="few")
    chains = fit_by_segment(MarkovChain(states=STAGES), pd.concat([moves, few, few, moves]))
    summaries = pd.concat(one.summary(name) for name, one in chains.items())
    many = summaries[summaries["segment"] == "all"].assign(segment="many")
    axes = plots.segment_heatmaps(pd.concat([summaries, many]))
    titles = [ax.get_title(loc="left") for ax in axes[0]]
    assert titles == [f"many (n {many['n'].sum():,})", f"few (n {2 * few['n'].sum():,})"]
    labels = [[text.get_text() for text in ax.get_xticklabels()] for ax in axes[0]]
    assert labels[0] == labels[1] == STAGES
    assert all(inside(ax) for ax in axes[0])
    with pytest.raises(Unanswerable):
        plots.segment_heatmaps(summaries[summaries["segment"] == "all"])


def test_only_sure_moves_are_written_and_a_found_date_is_marked():
    frame = transitions(shift=0.2)
    points = change_points(frame, n_permutations=99)
    change = pd.DataFrame({"period": [2], "first": 2, "last": 3})
    moved = moved_since(frame, change)
    curve, matrix = plots.change_pictures(points, change, moved, STAGES)
    written = [text for text in texts(matrix) if text not in ("", "·")]
    assert len(written) == (moved["verdict"] != "none").sum() > 0
    assert len(curve.lines) == 2
    # without a date there is nothing to compare
    nothing = moved_since(frame, change[:0])
    (curve,) = plots.change_pictures(points, change[:0], nothing, STAGES)
    assert len(curve.lines) == 1
