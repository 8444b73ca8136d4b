"""The expressions of event log, journeys and transitions give the same on Spark as on DuckDB."""

import gzip
import shutil
from collections import Counter

import ibis
import numpy as np
import pandas as pd
import pytest

from cjlib import journeys
from cjlib.dataset import connect, load_dataset
from cjlib.journey_map import fluidity
from cjlib.journey_map.experiences import moments, to_come
from cjlib.journey_map.feedback import _terms, _texts
from cjlib.reading import events
from cjlib.reading.sources import read_source
from tests.conftest import ROOT
from tests.test_journey_map import POINTS, make_log

pytestmark = [
    pytest.mark.spark,
    pytest.mark.slow,
    # PySpark's own use of pandas, which we cannot mend
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
    pytest.mark.filterwarnings("ignore:PySpark does not yet:FutureWarning"),
]


@pytest.fixture(scope="module")
def spark():
    pyspark_sql = pytest.importorskip("pyspark.sql", reason="needs the extra spark")
    if shutil.which("java") is None:
        pytest.skip("needs Java")
    session = (
        pyspark_sql.SparkSession.builder.master("local[2]")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    yield ibis.pyspark.connect(session)
    session.stop()


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Every 27th line of the demo's log, its dirt among them, as text on DuckDB."""
    folder = tmp_path_factory.mktemp("spark")
    with gzip.open(ROOT / "data/demo/events.csv.gz", "rb") as stream:
        header, *lines = stream.readlines()
    dirt = [line for line in lines if line.count(b",") != header.count(b",")]
    sample = folder / "events.csv"
    sample.write_bytes(b"".join([header, *lines[::27], *dirt, *lines[:40]]))
    dataset = load_dataset("demo", source=str(sample))
    raw = read_source(connect(dataset), dataset, folder)
    return dataset, raw, folder


def counts(con, dataset, raw, folder):
    """Take a log through the expressions, storing where the library stores."""

    def stored(table, name):
        path = folder / f"{con.name}-{name}.parquet"
        con.to_pyarrow(table).to_pandas().to_parquet(path)
        return con.read_parquet(str(path))

    as_of = pd.Timestamp(dataset.as_of)
    rows = events.not_after(stored(events.typed(raw, dataset), "typed"), as_of)
    rows = events.judged(rows, stored(events.repeats(rows, dataset), "repeats"))
    quality = events.quality_table(rows).set_index("rule")["rows"].to_dict()
    kept = rows.filter(rows.rule.isnull()).drop("rule", "content").rename(line="_row")
    kept = journeys.with_journeys(journeys.with_buckets(kept), dataset.journey.inactivity)
    kept = stored(kept, "events")
    visits = stored(journeys.stage_visits(kept, as_of, dataset.journey.inactivity), "visits")
    ends = Counter(con.execute(journeys.journey_table(visits).end))
    transitions = con.execute(journeys.transition_counts(visits, by=["bucket"]))
    runs = con.execute(journeys.ngram_counts(visits, 2))
    listed = con.execute(events.quarantine(raw, rows))[["line", "rule"]]
    moments = con.execute(kept.select("line", "timestamp", "value", "sentiment", "journey"))
    return {
        "quality": quality,
        "ends": ends,
        "transitions": Counter(transitions.itertuples(index=False, name=None)),
        "runs": Counter(runs.itertuples(index=False, name=None)),
        "quarantine": sorted(listed.itertuples(index=False, name=None)),
        "events": moments.sort_values("line").reset_index(drop=True),
    }


def test_spark_counts_what_duckdb_counts(spark, demo):
    dataset, raw, folder = demo
    raw.to_parquet(str(folder / "raw-text.parquet"))
    duck = connect(dataset)
    text = str(folder / "raw-text.parquet")
    expected = counts(duck, dataset, duck.read_parquet(text), folder)
    found = counts(spark, dataset, spark.read_parquet(text), folder)
    assert expected["quality"]["kept"] > 2_500
    assert len(expected["quality"]) > 5
    for part in ("quality", "ends", "transitions", "runs", "quarantine"):
        assert found[part] == expected[part], part
    pd.testing.assert_frame_equal(found["events"], expected["events"], check_dtype=False)


def test_spark_follows_customers_as_duckdb_does(spark, tmp_path):
    rng = np.random.default_rng(1)
    names = list(POINTS)
    rows = [
        (customer, 4 * number + rng.integers(1, 9) / 8, str(rng.choice(names)))
        for customer in range(40)
        for number in range(15)
    ]
    log = make_log(rows, touchpoints=POINTS, sentiment=rng.choice([-0.5, 0.5], len(rows)))
    words = ["Não recebi 2 vezes, Ana!", "it's 'fine' a@b.com ok", "Ana disse: ótimo"]
    written = log.events.to_pandas().assign(feedback=rng.choice(words, len(rows)))
    written.to_parquet(tmp_path / "events.parquet", coerce_timestamps="us")
    log.has = lambda column: True
    found = []
    for con in (connect(load_dataset("demo")), spark):
        log.events = con.read_parquet(str(tmp_path / "events.parquet"))
        terms = _terms(_texts(log, "")).group_by("term", "words", "side", "name")
        moved = fluidity(log)
        events = moments(log)
        bad = to_come(events, log, "error", events.touchpoint == "error")
        bad = con.execute(bad.select("line", "kind", "case", "bought", "exposed"))
        found.append([con.execute(terms.agg(n=lambda t: t.count())), moved, bad])
    for expected, table in zip(*found, strict=True):
        by = list(expected.select_dtypes(exclude="float").columns)
        expected, table = (one.sort_values(by, ignore_index=True) for one in (expected, table))
        pd.testing.assert_frame_equal(table, expected, check_dtype=False)
