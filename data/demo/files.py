"""The demo's files: the log with its dirt, the truths, the customers table."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import yaml

EMAIL_IDS = 30
COLUMNS = ["event_id", "customer_id", "timestamp", "touchpoint", "channel", "value", "sentiment"]

# Rows added to the log by the one rule they break, as the quality table names it.
DIRT = {
    "missing_customer_id": 40,
    "unreadable_time": 30,
    "time_after_as_of": 15,
    "time_too_early": 15,
    "missing_touchpoint": 25,
    "unmapped_touchpoint": 60,
    "unreadable_value": 35,
    "unreadable_sentiment": 20,
    "sentiment_out_of_range": 30,
    "too_few_fields": 20,
    "too_many_fields": 20,
    "bad_quoting": 10,
    "bad_encoding": 10,
    "conflicting_event_id": 20,
    "duplicate": 150,
}
# Rows kept as they are: harmless to count, dangerous to show.
CHANNELS_WITH_MARKUP = {"<script>alert(1)</script>": 12, "<b>app</b>": 12}
FORMULAS = ['=HYPERLINK("http://example.com","prize")', "+1+1", "-2+3", "@SUM(A1:A9)"]


def rows_of(demo) -> pd.DataFrame:
    """Return the clean log as text."""
    rows = demo.events.astype({"event_id": object})
    rows["timestamp"] = rows["timestamp"].dt.strftime("%Y-%m-%d %H:%M:%S")
    for column in ("value", "sentiment"):
        rows[column] = [f"{x:.2f}" if x == x else "" for x in rows[column].to_numpy()]
    return rows[COLUMNS].astype(object)


def line(fields) -> bytes:
    """Return one CSV line without its end."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(fields)
    return text.getvalue().encode()


def broken(rule: str, number: int, fields: dict) -> bytes:
    """Return a line that breaks the rule, made from a good row; number varies the way."""

    def pick(*choices):
        return choices[number % len(choices)]

    if rule == "missing_customer_id":
        fields["customer_id"] = pick("", "  ")
    elif rule == "unreadable_time":
        fields["timestamp"] = pick("yesterday", "2025-02-30 10:00:00", "0000-00-00 00:00:00", "")
    elif rule == "time_after_as_of":
        fields["timestamp"] = pick("2031-01-01 00:00:00", "2026-02-03 09:15:00")
    elif rule == "time_too_early":
        fields["timestamp"] = pick("1970-01-01 00:00:00", "2001-09-09 01:46:40")
    elif rule == "missing_touchpoint":
        fields["touchpoint"] = ""
    elif rule == "unmapped_touchpoint":
        fields["touchpoint"] = pick("carrier_pigeon", *FORMULAS, "Checkout!")
    elif rule == "unreadable_value":
        fields["value"] = pick("12,30", "free", "EUR 20", "1.2.3")
    elif rule == "unreadable_sentiment":
        fields["sentiment"] = pick("happy", "?")
    elif rule == "sentiment_out_of_range":
        fields["sentiment"] = pick("7", "-1.5")
    elif rule == "conflicting_event_id":
        fields["channel"] = pick("kiosk", "fax")
    if rule == "too_few_fields":
        return line(list(fields.values())[: pick(3, 5)])
    if rule == "too_many_fields":
        return line([*fields.values(), *pick(["surplus"], ["a", "b", "c"])])
    if rule == "bad_quoting":
        return line(fields.values()).replace(
            fields["touchpoint"].encode(), b'"' + fields["touchpoint"].encode() + b'"x', 1
        )
    if rule == "bad_encoding":
        fields["channel"] = "caf\udce9"
        return b",".join(str(field).encode("utf-8", "surrogateescape") for field in fields.values())
    return line(fields.values())


def log_bytes(demo) -> bytes:
    """Return the log as CSV: every clean row, and after some of them the dirty ones."""
    rows = rows_of(demo)
    rng = np.random.default_rng([demo.seed, 1])
    extra: dict[int, list[bytes]] = {}
    if demo.options["dirt"]:
        markup = rng.choice(len(rows), size=sum(CHANNELS_WITH_MARKUP.values()), replace=False)
        rows.iloc[markup, rows.columns.get_loc("channel")] = np.repeat(
            list(CHANNELS_WITH_MARKUP), list(CHANNELS_WITH_MARKUP.values())
        )
        after = np.array([rule for rule, count in DIRT.items() for _ in range(count)])
        # one dirty row per clean row at most, and none beside a row with markup
        places = rng.choice(
            np.setdiff1d(np.arange(len(rows)), markup), size=len(after), replace=False
        )
        names = [f"X{number:08d}" for number in range(len(after))]
        for number, (rule, place) in enumerate(zip(after, places, strict=True)):
            fields = rows.iloc[place].to_dict()
            if rule not in ("duplicate", "conflicting_event_id"):
                fields["event_id"] = names[number]
            extra.setdefault(int(place), []).append(broken(rule, number, fields))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows.itertuples(index=False))
    lines = [",".join(COLUMNS).encode()]
    for number, good in enumerate(text.getvalue().encode().split(b"\n")[:-1]):
        lines.append(good)
        lines.extend(extra.get(number, ()))
    return b"\n".join(lines) + b"\n"


def attributes(demo) -> pd.DataFrame:
    """Return the customers table: what a company knows beside the log."""
    rng = np.random.default_rng([demo.seed, 2])
    n = len(demo.ids)
    # the young buy more on impulse; country and source tell nothing
    young = np.isin(np.array(demo.behaviour.names)[demo.kind], ["impulsive"])
    bands = np.array(["18-29", "30-44", "45-59", "60+"])
    shares = np.where(young[:, None], [0.45, 0.3, 0.15, 0.1], [0.15, 0.3, 0.3, 0.25])
    band = (rng.random(n)[:, None] >= np.cumsum(shares, axis=1)[:, :-1]).sum(axis=1)
    return pd.DataFrame(
        {
            "customer_id": demo.ids,
            "country": rng.choice(["ES", "FR", "PT", "IT"], size=n, p=[0.6, 0.2, 0.1, 0.1]),
            "age_band": bands[band],
            "acquisition": rng.choice(["search", "social", "store", "friend"], size=n),
        }
    )


def zipped(path: Path, content: bytes) -> None:
    """Write gzip without name and time, so that the same content gives the same file."""
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write(content)


def write(demo, folder: Path) -> None:
    """Write the log, the truths and the customers table into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    zipped(folder / "events.csv.gz", log_bytes(demo))
    truths = demo.customers.to_csv(index=False, float_format="%.4f", lineterminator="\n")
    zipped(folder / "truth_customers.csv.gz", truths.encode())
    attributes(demo).to_csv(folder / "customers.csv", index=False, lineterminator="\n")
    text = yaml.safe_dump(demo.truth, sort_keys=False, allow_unicode=True, width=100)
    (folder / "truth.yml").write_text(
        "# What data/demo/generate.py planted in the log. Written by it; do not edit.\n" + text
    )


def write_rows(demo, path: Path) -> None:
    """Write the clean rows alone, fast, as Parquet or CSV by the path's ending."""
    log = duckdb.from_arrow(demo.table)
    log.write_parquet(str(path)) if path.suffix == ".parquet" else log.write_csv(str(path))
