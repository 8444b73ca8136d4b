"""The tables that others read: what they promise, how they are written, how ids are hidden."""

import hmac
import os
import unicodedata
from pathlib import Path

import pandas as pd

from cjlib.errors import ParameterError

KEY_VARIABLE = "CJ_ID_KEY"
SHORTEST_KEY = 16  # characters

TABLES = {
    "quality": ["rule", "rows", "share"],
    "quarantine": ["line", "rule"],  # and the row as read, unless ids are hashed
    "stages": ["stage", "position", "role", "events", "customers", "journeys", "median_days"],
    "journey_map": [
        *["stage", "touchpoint", "n", "customers", "reach", "sentiment", "lower", "upper"],
        *["negative_share", "advance_rate", "drop_off_rate", "pain", "moment_of_truth", "q_value"],
    ],
    "experiences": [
        *["experience", "customers", "gone_share", "otherwise_share", "difference"],
        *["difference_lower", "difference_upper", "q_value", "verdict"],
    ],
    "friction": [
        *["from_stage", "from_touchpoint", "to_stage", "to_touchpoint", "customers", "n"],
        *["days", "lost_days", "customer_days", "back_share", "repeat_share"],
    ],
    "retention": ["cohort", "month", "customers", "retention_share", "lower", "upper"],
    "feedback_words": [
        *["term", "customers", "bad_share", "good_share", "log_odds", "lower", "upper"],
        *["q_value", "side"],
    ],
    "segments": ["customer_id", "rfm_segment", "cluster", "journey_type"],
    "segment_profiles": [
        *["segmentation", "segment", "customers", "share", "recency_days", "frequency"],
        *["value", "stability"],
    ],
    "transitions": [
        *["segment", "from_stage", "to_stage", "n", "customers", "probability", "lower", "upper"],
    ],
    "absorption": [
        *["segment", "from_stage", "outcome", "probability", "lower", "upper", "expected_days"],
    ],
    "markov_tests": ["test", "segment", "statistic", "df", "p_value", "q_value", "effect"],
    "attribution": ["dimension", "level", "model", "conversions", "share", "lower", "upper"],
    "stage_forecast": ["period", "stage", "expected", "lower", "upper", "observed"],
    "next_stage": ["customer_id", "stage", "next_stage", "probability", "expected_days"],
    "churn_scores": [
        *["customer_id", "churn_probability", "decile", "expected_value", "value_at_risk"],
        *["reason_1", "reason_2", "reason_3", "group"],
    ],
    "churn_evaluation": [
        *["model", "auc", "auc_lower", "auc_upper", "log_loss", "brier", "ece"],
        *["top_decile_lift", "accuracy", "chosen"],
    ],
    "churn_calibration": ["bin", "predicted", "observed", "lower", "upper", "customers"],
    "initiatives": [
        *["rank", "stage", "touchpoint", "segment", "change", "extra_purchases", "extra_value"],
        *["lower", "upper", "customers_for_test"],
    ],
    "initiative_assignments": ["customer_id", "initiative", "arm", "since"],
    "next_actions": [
        *["customer_id", "stage", "next_stage", "probability", "churn_probability", "segment"],
        *["action", "reason", "until"],
    ],
    "changes": [
        *["measure", "segment", "item", "before", "after", "effect", "p_value", "q_value"],
        *["verdict"],
    ],
    "measures": ["measure", "segment", "of", "item", "stratum", "bucket", "n"],
}
"""The columns that each published table has at least. BI tools and the next run read them."""


FOR_THE_NEXT_RUN = {"measures"}
"""Tables that nobody reads in a spreadsheet: far too many rows."""


def table_files(name: str) -> list[str]:
    """Return the names of the files that a table is written to."""
    return [f"{name}.parquet", *[f"{name}.csv"] * (name not in FOR_THE_NEXT_RUN)]


def write_table(table: pd.DataFrame, folder: Path, name: str) -> None:
    """Write a table as ``folder/name.parquet`` and, for spreadsheets, as ``folder/name.csv``."""
    folder.mkdir(parents=True, exist_ok=True)
    table.to_parquet(folder / f"{name}.parquet", index=False)
    if name in FOR_THE_NEXT_RUN:
        return
    neutralise(table).to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")


def neutralise(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose texts no spreadsheet takes for a formula: they get a leading ``'``.

    Numbers are untouched, also negative ones.
    """

    def safe(value):
        if not isinstance(value, str):
            return value
        start = unicodedata.normalize("NFKC", value[:1])  # a full-width = counts, too
        return f"'{value}" if start.startswith(_FORMULA_STARTS) else value

    kept = ["number", "bool", "datetime", "datetimetz"]
    texts = table.select_dtypes(exclude=kept).astype(object).map(safe)
    return table.assign(**texts).rename(columns=safe)


_FORMULA_STARTS = tuple("=+-@\t\r\n")


def without_ids(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """Return a table that holds no raw id: keyed hashes, and no row as it was read."""
    if name == "quarantine":
        return table[TABLES["quarantine"]]
    if "customer_id" not in table.columns:
        return table
    return table.assign(customer_id=hash_ids(table["customer_id"]))


def id_key() -> bytes:
    """Return the key of all hashes.

    Raises
    ------
    ParameterError
        If the environment variable ``CJ_ID_KEY`` is missing, or short enough to be guessed.
    """
    key = os.environ.get(KEY_VARIABLE, "").encode()
    if len(key) < SHORTEST_KEY:
        raise ParameterError(
            "The dataset file says customer_ids: hash, which needs a key: set the environment "
            f"variable {KEY_VARIABLE} to a secret of {SHORTEST_KEY} characters or more, as from "
            "`openssl rand -hex 32`. The same key gives the same hashes."
        )
    return key


def hash_ids(ids: pd.Series) -> pd.Series:
    """Return the keyed hash (HMAC-SHA256, hexadecimal) of each customer id.

    Raises
    ------
    ParameterError
        If the environment variable ``CJ_ID_KEY`` holds no key.
    """
    key = id_key()
    return ids.map(
        lambda value: hmac.digest(key, str(value).encode(), "sha256").hex(), na_action="ignore"
    )
