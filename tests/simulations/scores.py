"""Scores of churn: what chance alone shows of them, the sign of a driver, and promises under drift.

Heavy users stay, and meet everything more often, support too; each contact with it makes leaving
likelier all the same. The level of churn wanders from quarter to quarter, or does not.
"""

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from cjlib.churn import cut_off_samples, expected_churners, select_model
from cjlib.churn.drift import churn_level
from cjlib.churn.evaluation import OpenedTest, calibrated, evaluate
from cjlib.churn.reasons import permutation_importance
from tests.churn_logs import candidates_of, log_of, prepared, samples_of
from tests.simulations import Simulation

# -- calibration: what a score shows that is right, and one that is not ---------------------------


def calibration_of(seed: int, customers: int, off: float) -> pd.Series:
    """Return the verdict on a score that is right, or off by so many log-odds."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(-0.3, 1.0, customers)
    churned, p = rng.random(customers) < expit(odds + off), expit(odds)
    row = pd.DataFrame([evaluate(churned, p, np.arange(customers) % 256, seed=seed)])
    return calibrated(OpenedTest(None, p, row, row), churned).iloc[0]


def calibration_trial(seed: int) -> dict[str, float]:
    """Return how often a right score is called off, and what its ECE is above a right score's."""
    right, large, off = (
        calibration_of(seed, n, shift) for n, shift in ((300, 0.0), (3000, 0.0), (1500, 0.4))
    )
    return {
        "false at 300": right["verdict"] == "off",
        "false at 3000": large["verdict"] == "off",
        "ece less a right score's": right["ece"] - right["ece_perfect"],
        "found, 8 points off": off["verdict"] == "off",
    }


# -- the sign of a driver -------------------------------------------------------------------------

WEEKS, HORIZON = 36, 56  # of the log; days
RATES = {"order": 0.6, "view": 0.6, "support": 0.12, "newsletter": 0.15, "survey": 0.1}
"""Events a week of a customer of mean activity; support grows faster with it than the others."""


def heavy_users(seed: int, customers: int = 2500, hazard: float = 0.03) -> pd.DataFrame:
    """Return events of customers whose drop-out a recent contact with support doubles."""
    rng = np.random.default_rng(seed)
    activity = rng.gamma(1.5, 1 / 1.5, customers).clip(0.1)
    alive, last = np.ones(customers, dtype=bool), np.full(customers, -99)
    begin = rng.integers(0, 12, customers)
    parts = []
    for week in range(WEEKS):
        here = alive & (week >= begin)
        for name, rate in RATES.items():
            power = {"support": 1.3, "survey": 0.0}.get(name, 1.0)
            count = rng.poisson(rate * activity**power) * here
            if name == "order":
                count = np.maximum(count, week == begin)
            who = np.repeat(np.arange(customers), count)
            parts.append(pd.DataFrame({"who": who, "week": week, "touchpoint": name}))
            if name == "support":
                last[count > 0] = week
        doubled = 1 + (week - last < 8)
        alive &= ~(here & (rng.random(customers) < hazard * activity**-0.7 * doubled))
    events = pd.concat(parts, ignore_index=True)
    day = 7 * events.pop("week") + 7 * rng.random(len(events))
    events["timestamp"] = pd.Timestamp("2025-01-01") + pd.to_timedelta(day, unit="D").dt.floor("s")
    events["customer_id"] = "c" + events.pop("who").astype(str)
    events["purchase"] = events["touchpoint"] == "order"
    stage = {"order": "purchase", "view": "look", "newsletter": "look"}
    events["stage"] = events["touchpoint"].map(stage).fillna("use")
    return events.sort_values(["timestamp", "customer_id"], ignore_index=True)


def sign_trial(seed: int) -> dict[str, float]:
    """Return how the sign of the planted driver is drawn, and of two that drive nothing."""
    end = pd.Timestamp("2025-01-01") + pd.Timedelta(7 * WEEKS, "D")
    samples = cut_off_samples(log_of(prepared(heavy_users(seed)), as_of=end, days=HORIZON))
    rows, test = pd.concat(samples.training), samples.test
    model = clone(candidates_of(samples)["RFM + journey"]).fit(samples.X(rows), rows["churned"])
    given = samples.X(test), test["churned"], test["bucket"]
    way = permutation_importance(model, *given, seed=seed).set_index("topic")["goes_with"]
    support = way.get("touchpoint support", "unclear")
    plain = np.corrcoef(test["recent:support"].rank(), test["churned"])[0, 1]
    return {
        "right, of signs drawn": np.nan if support == "unclear" else support == "churn",
        "sign drawn": support != "unclear",
        "sign of an idle driver": way.get("touchpoint survey", "unclear") != "unclear",
        "the same, met by heavy users": way.get("touchpoint newsletter", "unclear") != "unclear",
        "wrong by the plain correlation": plain < 0,
    }


# -- how many will leave --------------------------------------------------------------------------

CUT_OFFS = 8  # six of training, the test, and now


def wandering(seed: int, step: float, customers: int = 1200) -> list[pd.DataFrame]:
    """Return customers at cut-offs between which the level of churn makes a random step."""
    rng = np.random.default_rng(seed)
    names = ["recency_days", "purchase_days", "rhythm"]
    level, frames = -0.2, []
    for place in range(CUT_OFFS):
        level += step * rng.normal()
        frame = pd.DataFrame(rng.normal(size=(customers, len(names))), columns=names)
        odds = level + frame.to_numpy() @ [0.9, -0.5, -0.3]
        frame["churned"] = rng.random(customers) < expit(odds)
        frame["cut_off"] = pd.Timestamp("2023-01-01") + place * pd.Timedelta(90, "D")
        frames.append(frame.assign(bucket=np.arange(customers) % 256))
    return frames


class Three:
    """What samples are made of here: three features."""

    rfm, journey = ["recency_days", "purchase_days", "rhythm"], []


def promise_trial(seed: int) -> dict[str, float]:
    """Return whether the interval of how many leave holds them, and how wide it is."""
    figures = {}
    for name, step in (("drift", 0.25), ("no drift", 0.0)):
        *training, test, now = wandering(seed, step)
        models = dict.fromkeys(("bg_nbd", "mbg_nbd", "pareto_nbd"), np.nan)
        frames = [frame.assign(**models) for frame in (*training, test, now)]
        samples = samples_of(frames[:-2], frames[-2], frames[-1], words=Three())
        choice = select_model({"plain": LogisticRegression()}, samples)
        known, rows = samples.known, pd.concat(samples.training)
        fitted = clone(choice.model).fit(samples.X(rows), rows["churned"])
        promised = fitted.predict_proba(samples.X(test))[:, 1]
        level = churn_level(choice, test["churned"], promised)
        final = clone(choice.model).fit(samples.X(known), known["churned"])
        row = expected_churners(final.predict_proba(samples.X(now))[:, 1], level).iloc[0]
        covered = row["churners_lower"] <= now["churned"].sum() <= row["churners_upper"]
        figures[f"covered, {name}"] = covered
        half = (row["churners_upper"] - row["churners_lower"]) / 2 / len(now)
        figures[f"half width, {name}"] = half
    return figures


SIMULATIONS = [
    Simulation(
        "churn: calibration beside that of a perfect score",
        calibration_trial,
        {
            "false at 300": (0, 0.05),
            "false at 3000": (0, 0.05),
            "ece less a right score's": (-0.002, 0.002),
            "found, 8 points off": (0.9, 1),
        },
        seeds=200,
    ),
    Simulation(
        "churn: sign of a driver that heavy users meet more",
        sign_trial,
        {
            "right, of signs drawn": (0.95, 1),
            "sign drawn": (0.3, 1),
            "sign of an idle driver": (0, 0.05),
            "the same, met by heavy users": (0, 0.05),
            "wrong by the plain correlation": (0.5, 1),
        },
    ),
    Simulation(
        "churn: how many will leave, with and without drift",
        promise_trial,
        {
            "covered, drift": (0.93, 0.97),
            "covered, no drift": (0.93, 0.97),
            "half width, drift": (0.05, 0.17),
            "half width, no drift": (0, 0.06),
        },
        seeds=300,
    ),
]
