"""Time the churn study at a million customers: `python -m tests.benchmarks.bench_churn`."""

import datetime as dt
import resource
import tempfile
import time
from pathlib import Path

import ibis
from sklearn.base import clone

from cjlib import churn
from cjlib.journeys import with_buckets, with_journeys
from tests.churn_logs import candidates_of, log_of

EVENTS = """
select customer_id, "timestamp", touchpoint, stage, role, stage = 'purchase' as purchase,
  case when role = 'after' then 'company' else 'customer' end as initiator,
  ['web', 'app', 'store'][(1 + line % 3)::int] as channel,
  case when stage = 'purchase' then 20 + line % 80 end::double as value,
  case when role = 'after' then (line % 21 - 10) / 10 end::double as sentiment, line
from (
  select 'C' || c as customer_id, line,
    timestamp '2025-01-01' + to_seconds((hash(c) % 20000000 + (hash(line) % 31536000) * power(
      hash(c, 1) % 1000 / 1000, 2))::bigint % 31500000) as "timestamp",
    ['view', 'cart', 'order', 'delivery', 'support'][(1 + hash(line, 3) % 5)::int] as touchpoint,
    ['look', 'decide', 'purchase', 'use', 'use'][(1 + hash(line, 3) % 5)::int] as stage,
    ['before', 'before', 'purchase', 'after', 'after'][(1 + hash(line, 3) % 5)::int] as role
  from (select line, hash(line, 7) % {customers} as c from range({events}) as r(line))
)
"""


def clock(label: str, since: float) -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    now = time.perf_counter()
    print(f"{label}: {now - since:.0f} s, CPU {time.process_time():.0f} s, peak {peak:.1f} GB")
    return now


def main(customers: int = 1_000_000, events: int = 10_000_000) -> None:
    with tempfile.TemporaryDirectory() as folder:
        con = ibis.duckdb.connect()
        con.raw_sql("set memory_limit = '3GB'")
        con.raw_sql("set preserve_insertion_order = false")
        con.raw_sql("create view raw as " + EVENTS.format(customers=customers, events=events))
        path = Path(folder) / "events.parquet"
        begun = time.perf_counter()
        with_journeys(with_buckets(con.table("raw")), dt.timedelta(days=30)).to_parquet(path)
        begun = start = clock("the log (not counted)", begun)
        log = log_of(con.read_parquet(path), as_of="2026-01-01")
        samples = churn.cut_off_samples(log)
        begun = clock("features at every cut-off", begun)
        choice = churn.select_model(candidates_of(samples), samples)
        tested = churn.open_test(choice, samples)
        begun = clock(f"choice and test ({choice.chosen})", begun)
        known, now = samples.X(samples.known), samples.X(samples.now)
        final = clone(choice.model).fit(known, samples.known["churned"])
        score = final.predict_proba(now)[:, 1]
        begun = clock("scores", begun)
        because = churn.contributions(final, now, known)
        begun = clock("contributions", begun)
        options = {"hold_out": 0.1, "longest_silence": 2.0}
        actions = churn.action_list(samples, score, because, 0.2, **options)
        churn.at_risk(actions, samples, tested.probability, tested.level)
        clock("action list with reasons in words", begun)
        clock(f"in all, {len(actions):,} customers", start)


if __name__ == "__main__":
    main()
