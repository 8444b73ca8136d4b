"""Pictures of chains say what the tables say, and fit their frame."""

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from cjlib.markov.chain import MarkovChain
from cjlib.markov.dwell import cumulative_incidence, moving_on
from cjlib.markov.markov_tests import change_points, moved_cells
from cjlib.plots import flow as plots_flow, markov as plots_markov

pytestmark = pytest.mark.usefixtures("canvas")
STAGES = ["awareness", "consideration", "purchase", "lost"]


def transitions(seed: int = 0, shift: float = 0.0) -> pd.DataFrame:
    generator, rows = np.random.default_rng(seed), []
    for bucket in range(64):
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
    boxes = [text.get_window_extent() for text in [*ax.get_xticklabels(), *ax.get_yticklabels()]]
    boxes.append(ax.title.get_window_extent())
    return all(
        b.x0 >= -1 and b.y0 >= -1 and b.x1 <= width + 1 and b.y1 <= height + 1 for b in boxes
    )


def test_the_heatmap_writes_probability_interval_and_n_of_each_move():
    chain = MarkovChain(states=STAGES).fit(transitions())
    _, ax = plt.subplots(figsize=(9, 4.2))
    assert chain.plot(ax=ax, label=str.title) is ax
    row = chain.summary().query("from_stage == 'awareness' and to_stage == 'lost'").iloc[0]
    text = f"{row['probability']:.0%}\n{row['lower']:.0%} to {row['upper']:.0%}\nn {row['n']:,}"
    assert text in texts(ax)
    assert [t.get_text() for t in ax.get_xticklabels()][-1] == "Lost"
    assert inside(ax)


def test_long_names_are_shortened_not_cut():
    long = "a stage with a name that nobody would like to read to its end"
    frame = transitions().replace({"awareness": long})
    _, ax = plt.subplots(figsize=(9, 4.2))
    MarkovChain().fit(frame).plot(ax=ax)
    assert any(t.get_text().endswith("…") for t in ax.get_yticklabels())
    assert inside(ax)


def test_segments_stand_side_by_side_with_their_moves():
    chains = [
        (name, MarkovChain(states=STAGES).fit(transitions(seed)))
        for seed, name in enumerate(["new", "loyal", "asleep"])
    ]
    _, axes = plt.subplots(1, 3, figsize=(9, 3.6), squeeze=False)
    plots_flow.segment_heatmaps(chains, axes)
    assert [ax.get_title(loc="left") or ax.get_title() for ax in axes[0]] == [
        f"{name} ({chain.counts_.sum():,.0f} moves)" for name, chain in chains
    ]
    assert all(inside(ax) for ax in axes[0])


def test_only_sure_moves_are_written():
    frame = transitions(shift=0.2)
    points = change_points(frame, n_permutations=99)
    moved = moved_cells(frame.assign(late=frame["period"] >= 2), group="late").query("late")
    _, ax = plt.subplots()
    plots_markov.moved_heatmap(moved, order=STAGES, ax=ax)
    written = [text for text in texts(ax) if text not in ("", "·")]
    assert len(written) == (moved["q_value"] <= 0.05).sum()
    _, ax = plt.subplots()
    plots_markov.change_curve(points, ax=ax)
    assert any("awareness to" in text for text in texts(ax))


def test_curves_start_at_nothing_and_name_their_stages_outside_of_them():
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "stage": "awareness",
            "exit": generator.choice(["purchase", "lost", "open"], 400),
            "days": generator.integers(0, 20, 400).astype(float),
            "bucket": generator.integers(0, 64, 400),
            "n": 1,
        }
    )
    _, ax = plt.subplots()
    plots_markov.moving_curves(moving_on(frame, "awareness"), label=str.title, ax=ax)
    assert ax.lines[0].get_ydata()[0] == 0
    assert 0 < ax.lines[0].get_ydata()[-1] < 1
    ax.figure.canvas.draw()
    assert ax.get_legend().get_window_extent().y1 < ax.get_window_extent().y0
    assert ax.get_legend().get_texts()[0].get_text() == "Awareness"
    _, ax = plt.subplots()
    plots_markov.incidence_curves(cumulative_incidence(frame, "awareness"), ax=ax)
    assert {text.get_text() for text in ax.get_legend().get_texts()} == {"purchase", "lost"}
