"""The sentences of notebook 05 say what the results say."""

import numpy as np
import pandas as pd
import pytest

from cjlib.churn import action_findings, findings as churn_findings
from cjlib.churn.choice import Choice
from cjlib.churn.study import Result
from cjlib.uncertainty import Interval


class Heard:
    """A report that remembers what it was told."""

    def __init__(self):
        self.texts, self.figures, self.published = [], {}, []

    def say(self, text, **values):
        self.texts.append(text.format(**values))

    def finding(self, name, *, value, sentence, lower=np.nan, upper=np.nan, unit="", **more):
        self.figures[name] = value
        more |= {"value": value, "lower": lower, "upper": upper, "unit": unit}
        self.texts.append(sentence.format(**more))

    def show(self, table, *args, **more):
        self.texts.append(table.to_string())

    def publish(self, name, table):
        self.published.append(name)

    def enough(self, n):
        return n >= 5

    @property
    def text(self):
        return "\n".join(self.texts)


@pytest.fixture
def report():
    return Heard()


def test_a_problem_is_said_and_empty_tables_are_published(report):
    found = type("Found", (), {"problem": "The log covers 20 days."})
    churn_findings.cut_offs(report, found)
    assert "The log covers 20 days." in report.text
    assert report.published == ["churn_evaluation", "churn_calibration"]


def test_a_leak_is_a_warning(report):
    alarms = pd.DataFrame({"feature": ["b"], "auc": [0.99]})
    churn_findings.canaries(report, ["a", "b", "c"], ["a"], alarms)
    assert "Do not trust" in report.text
    assert "a, b" in report.text
    clean = Heard()
    churn_findings.canaries(clean, ["a"], [], alarms.head(0))
    assert "Do not trust" not in clean.text
    assert "none change" in clean.text


def test_folds_are_confessed(report):
    table = pd.DataFrame({"model": ["rule"], "log_loss": [0.5], "chosen": [True]})
    empty = pd.DataFrame()
    churn_findings.chosen(report, Choice("rule", table, empty, empty, False))
    assert "folds of customers stood in" in report.text


@pytest.mark.parametrize(("observed", "warned"), [(0.5, False), (0.8, True)])
def test_probabilities_that_are_off_are_called_so(report, observed, warned):
    table = pd.DataFrame({"predicted": [0.5] * 10, "lower": observed - 0.1})
    churn_findings.promises(report, table.assign(upper=observed + 0.1), 0.5, observed)
    assert ("with care" in report.text) == warned


@pytest.mark.parametrize(("lower", "word"), [(0.01, "help over"), (-0.01, "do not clearly help")])
def test_journeys_that_do_not_help_are_said_not_to(report, lower, word):
    churn_findings.journeys(report, {"gain": 0.02, "lower": lower, "upper": 0.03, "share": 0.04})
    assert word in report.text
    assert report.figures["journey_gain"] == 0.04
    orders = Heard()
    churn_findings.journeys(orders, {})
    assert "purchases alone" in orders.text


def test_small_groups_are_not_shown(report):
    actions = pd.DataFrame(
        {
            "group": ["contact"] * 10 + ["hold out"] * 2,
            "churn_probability": 0.5,
            "value_at_risk": 10.0,
            "horizon_days": 60.0,
        }
    )
    kept = Interval(0.9, 0.8, 1.0), Interval(0.5, 0.4, 0.6)
    action_findings.listed(report, actions, "EUR", kept, 500.0)
    assert "hold out" not in report.text
    assert report.figures["value_at_risk"] == 60  # half of 120 came true on the test
    assert "(48 to 72" in report.text
    assert "about 5 will not buy" in report.text  # nine tenths of six
    assert "brought 500 EUR" in report.text
    ranks = Heard()
    action_findings.listed(ranks, actions.assign(churn_probability=np.nan), "EUR", None, np.nan)
    assert "No list of contacts" in ranks.text


def test_what_is_at_risk_leaves_out_who_is_long_gone(report):
    actions = pd.DataFrame(
        {
            "group": ["leave alone"] * 10 + ["long gone"] * 7,
            "churn_probability": 0.5,
            "value_at_risk": 10.0,
            "horizon_days": 60.0,
        }
    )
    action_findings.listed(report, actions, "orders", (Interval(1.0, 0.9, 1.1),) * 2, np.nan)
    assert report.figures["value_at_risk"] == 100
    assert "7 more have been silent" in report.text
    assert "days brought" not in report.text


def merits(area, lower):
    rows = {"model": ["recency rank", "ours"], "chosen": [False, True], "accuracy": 0.7}
    rows |= dict.fromkeys(["brier", "ece"], 0.2) | {"log_loss": [0.5, 0.6]}
    rows |= dict.fromkeys(["top_decile_lift", "return_lift"], 1.0)
    rows |= {"auc": [0.6, area], "auc_lower": [0.5, lower], "auc_upper": 0.9}
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("area", "lower", "ranks"), [(0.7, 0.6, True), (0.52, 0.45, False)])
def test_a_score_no_better_than_chance_is_called_so(report, area, lower, ranks):
    empty = pd.DataFrame()
    choice = Choice("ours", pd.DataFrame(), empty, empty, False)
    result = Result(choice, False, {}, merits(area, lower), None)
    found = type("Found", (), {"test": range(1000)})
    assert churn_findings.tested(report, found, result, 0.5) == ranks
    assert ("no better than chance" in report.text) != ranks
    assert "*recency rank* did better" in report.text  # its log-loss on the test is lower


def test_the_assumptions_of_a_contact_list_are_said(report):
    curve = pd.DataFrame({"contacted": [0.0, 0.5, 1.0], "profit": [0.0, 3.0, 1.0]})
    curves = {0.15: curve * [1, -1], 0.3: curve, 0.45: curve}
    costs = {"contact_cost": 2.0, "offer_cost": 20.0}
    empc = {"profit": 1.0, "contacted": 0.4}
    assert action_findings.worth(report, curves, empc, costs, "EUR", mean=100.0) == 0.5
    assert "If** a contact costs 2 EUR, an offer 20 EUR and 30%" in report.text
    assert "If 15% accept, 0%; if 45%, 50%" in report.text
    assert "Contacting 50% to 50% earns within a twentieth" in report.text


def test_an_earlier_list_is_scored(report):
    rng = np.random.default_rng(1)
    past = pd.DataFrame({"group": np.where(rng.random(4000) < 0.5, "contact", "hold out")})
    past["churned"] = rng.random(4000) < np.where(past["group"] == "contact", 0.3, 0.5)
    past = past.assign(churn_probability=0.4, bucket=np.arange(4000) % 256, contacted=False)
    action_findings.earlier_list(report, past)
    assert report.figures["uplift"] == pytest.approx(0.2, abs=0.04)
    assert "acting kept customers" in report.text
    assert "were contacted" not in report.text
    alone = Heard()
    action_findings.earlier_list(alone, past.assign(group="contact", contacted=True))
    assert "Nobody was held out" in alone.text
    assert "100% of its contact list" in alone.text


def test_a_group_that_is_hardly_ranked_is_named_with_its_share(report):
    groups = pd.DataFrame(
        {"group": ["1 order", "2 orders"], "auc": [0.53, 0.8], "customers": [60, 40]}
    )
    churn_findings.hardly_ranked(report, groups)
    assert "customers with 1 order (53% of pairs; 60% of customers)" in report.text
    clear = Heard()
    churn_findings.hardly_ranked(clear, groups.assign(auc=0.7))
    assert not clear.text


def test_first_reasons_are_those_published(report):
    actions = pd.DataFrame({"customer_id": [f"c{i}" for i in range(30)], "group": "contact"})
    actions["reason_1"] = ["last order 94 days ago"] * 20 + [""] * 10
    now = actions[["customer_id"]].iloc[::-1].reset_index(drop=True)
    pushes = pd.DataFrame({"time since the last order": [0.0] * 10 + [1.0] * 20, "value": 0.01})
    action_findings.first_reasons(report, actions, now, pushes)
    assert "20" in report.text
    assert "10 on the list have no reason in words" in report.text
    assert "value" not in report.texts[0]
