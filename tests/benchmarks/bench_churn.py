"""Time the churn study at a million customers: `python tests/benchmarks/bench_churn.py`."""

import datetime as dt
import resource
import tempfile
import time
from pathlib import Path

import ibis
import pandas as pd

from cjlib.churn.actions import action_list, expected_values
from cjlib.churn.reasons import pushes, reasons
from cjlib.churn.study import choose_model, open_test, study
from cjlib.journeys import with_buckets, with_journeys

AS_OF, HORIZON = pd.Timestamp("2026-01-01"), pd.Timedelta(60, "D")
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
        log = con.read_parquet(path)
        found = study(log, AS_OF, HORIZON)
        begun = clock("features at every cut-off", begun)
        result = open_test(found, choose_model(found))
        begun = clock(f"choice and test ({result.choice.chosen})", begun)
        score, value = (
            result.final.predict_proba(found.now)[:, 1],
            expected_values(found.now, value=True),
        )
        begun = clock("scores and values", begun)
        why = reasons(found.now, pushes(result.final, found.now), horizon=HORIZON)
        begun = clock("reasons", begun)
        shares = {"contact_share": 0.2, "hold_out": 0.1}
        table = action_list(found.now, score, value, why, **shares, as_of=AS_OF, horizon=HORIZON)
        clock("action list", begun)
        clock(f"in all, {len(table):,} customers", start)


if __name__ == "__main__":
    main()
