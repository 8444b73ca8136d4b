"""Time and memory of notebook 03's work on a million made-up customers.

Run ``python tests/benchmarks/bench_segments.py --customers 1000000``; prints seconds per step and
the peak memory of the process, the making and preparing of the log set apart.
"""

import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import click
import duckdb

if not __package__:  # run as a script
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sklearn.cluster import KMeans

from cjlib import segments
from cjlib.log import open_log
from cjlib.markov.mixture import MarkovMixture

DATASET = """
name: million
source: rows.parquet
columns: {customer_id: customer_id, timestamp: {column: timestamp, timezone: UTC},
  touchpoint: touchpoint, channel: channel, value: value,
  sentiment: {column: feeling, scale: [-1, 1]}}
stage_model: five_phases
touchpoints:
  ad: {stage: awareness}
  search: {stage: awareness}
  view: {stage: consideration}
  compare: {stage: consideration}
  cart: {stage: decision}
  checkout: {stage: decision}
  order: {stage: purchase}
  delivery: {stage: post_sale}
journey: {inactivity: 30 days, purchase: [order]}
churn: {horizon: 60 days}
"""
ROWS = """
COPY (
    WITH rows AS (
        SELECT c, hash(c, i) AS h, hash(c, i, 1) AS g
        FROM range(?) a(c), range(40) b(i)
        WHERE i < 2 + hash(c) % 17  -- 2 to 18 events, 10 on average
    )
    SELECT
        format('c{:07d}', c) AS customer_id,
        TIMESTAMP '2025-01-01' + to_seconds((h % (360 * 86400))::BIGINT) AS timestamp,
        ['ad', 'search', 'view', 'compare', 'cart', 'checkout', 'order', 'delivery'][
            -- two kinds of customers: those who look, and those who buy
            1 + (CASE WHEN c % 2 = 0 THEN g % 5 ELSE 3 + g % 5 END)::BIGINT] AS touchpoint,
        ['web', 'app', 'store'][1 + (c // 2) % 3] AS channel,
        CASE WHEN touchpoint = 'order' THEN 10 + h % 90 END AS value,
        CASE WHEN h % 3 = 0 THEN (g % 200)::DOUBLE / 100 - 1 END AS feeling
    FROM rows
) TO '{path}' (FORMAT parquet)
"""


@click.command()
@click.option("--customers", default=1_000_000, show_default=True)
def main(customers: int) -> None:
    """Measure."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        duckdb.execute(ROWS.replace("{path}", str(path / "rows.parquet")), [customers])
        (path / "million.yml").write_text(DATASET)
        # In a process of its own, as a run does: its memory is not the notebook's.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            timed(
                "prepare the log (not counted)", pool.submit(prepare, path / "million.yml").result
            )
        log = timed("open it", open_log, path / "million.yml")
        start = time.perf_counter()
        rules = timed("rules", segments.rfm_rules, log)
        scored = timed("scores", segments.rfm_scores, log, rules)
        features = segments.behaviour_features(log)
        sample = timed("behaviour of a sample", segments.behaviour_sample, log, features)
        stable = timed("clusters", segments.StableClusters(KMeans(n_init=5)).fit, sample)
        clusters = segments.name_clusters(log, sample, stable)
        types = timed("types", segments.find_journey_types, log, MarkovMixture())
        views = segments.Views(rules, clusters, types)
        now = timed("everybody now", views.at, log)
        stability = timed("stability", views.stability, scored)
        profile = timed("profiles", segments.profiles, log, views, now, stability)
        shown = segments.readable_profile(log, views, profile, lambda n: n >= 5)
        timed("journeys", segments.typical_journeys, log, views, now)
        timed("cards", segments.cards, log, views, now, shown)
        timed("what stands out", segments.standing_out, log, views, now, shown)
        click.echo(f"{time.perf_counter() - start:8.1f} s  all together")


def prepare(path: Path) -> None:
    """Prepare the log."""
    open_log(path)


def timed(what, function, *arguments):
    """Call a function, say how long it took and the process's peak memory so far."""
    start = time.perf_counter()
    result = function(*arguments)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    click.echo(f"{seconds:8.1f} s  {peak:5.2f} GB  {what}")
    return result


if __name__ == "__main__":
    main()
