"""Persona cards: what differs from everybody, no small groups, no word against the facts."""

from dataclasses import replace

import pandas as pd
import pytest

from cjlib.report import Report
from cjlib.segments.experience import experience, usual
from cjlib.segments.personas import (
    Persona,
    cards,
    everybody,
    personas,
    share_of,
    show_cards,
    show_everybody,
)
from cjlib.segments.rfm import load_rules
from tests.segment_logs import demo_profile


@pytest.fixture(scope="module")
def common(demo, found):
    return usual(demo, found)


@pytest.fixture(scope="module")
def rows():
    profile = demo_profile()
    return profile[profile["segmentation"] == "rfm"]


@pytest.fixture(scope="module")
def lived(demo, found):
    return experience(demo, found.customers, "rfm_segment")


class TestCards:
    def test_a_card_per_group_large_enough(self, demo, found, rows, common):
        made = cards(demo, found, "rfm_segment", rows, common)
        assert [card.segment for card in made] == rows["segment"].tolist()
        assert {"Who", "Next"} <= set(made[0].lines)
        few = rows.assign(customers=4)
        assert cards(demo, found, "rfm_segment", few, common) == []

    def test_what_holds_for_everybody_is_said_once(self, demo, found, rows, common):
        once = everybody(demo, demo_profile(), common)
        assert set(once.lines) == {"Where", "Helps", "Hurts", "Leaves", "Next"}
        assert "payment error" in once.lines["Hurts"]
        assert "delivery late" in once.lines["Hurts"]
        said = " ".join(
            text
            for card in cards(demo, found, "rfm_segment", rows, common)
            for text in card.lines.values()
        )
        assert "payment error" not in said
        assert "delivery" not in said

    def test_a_feeling_unlike_everybodys_is_told_with_n_and_interval(
        self, demo, rows, lived, common
    ):
        def hurts(limit):
            effects = lived.effects.copy()
            there = (effects["segment"] == "champions") & (effects["touchpoint"] == "product_view")
            effects.loc[there, ["feeling", "feeling_upper"]] = [-0.9, limit]
            made = personas(
                demo, rows, replace(lived, effects=effects), pd.DataFrame({"segment": []}), common
            )
            return made[0].lines.get("Hurts", "")

        assert "Worst feeling: product view (-0.90, " in hurts(-0.85)
        assert "n " in hurts(-0.85)
        assert not hurts(-0.5)  # it may be no worse than what is worst for everybody

    def test_where_journeys_end_is_told_only_where_they_had_a_choice(
        self, demo, rows, lived, common
    ):
        nothing = pd.DataFrame({"segment": []})
        sure = {"share": 0.6, "others": 0.4, "q_value": 0.01}
        told = replace(lived, ends=lived.ends.assign(**sure))
        card = personas(demo, rows, told, nothing, common)[0]
        assert "60% of" in card.lines["Leaves"]
        assert "against 40% of the others'" in card.lines["Leaves"]
        chance = replace(lived, ends=lived.ends.assign(**sure | {"q_value": 0.2}))
        assert "Leaves" not in personas(demo, rows, chance, nothing, common)[0].lines
        one_way = replace(common, ends=common.ends.assign(share=1.0))
        assert "Leaves" not in everybody(demo, demo_profile(), one_way).lines

    def test_a_last_purchase_past_the_horizon_is_told_whatever_the_name(
        self, demo, rows, lived, common
    ):
        rules, nothing = load_rules(), pd.DataFrame({"segment": []})
        for days, told in ((60, False), (61, True)):
            late = rows.assign(recency_days=days)
            card = personas(demo, late, lived, nothing, common, rules)[0]
            assert card.segment == "champions"
            assert ("past the churn horizon of 60 days" in card.lines["Who"]) is told


def test_cards_are_shown_whole_with_the_headings_that_any_has(demo, capsys):
    report = Report("03_segments", demo)
    long = "They bought. " * 12
    made = [
        Persona("a_*b*", "7 (1%)", {"Who": long}),
        Persona("c", "8 (2%)", {"Who": "They wait.", "Next": "Write to them."}),
    ]
    show_cards(report, made)
    said = capsys.readouterr().out
    assert long.strip() in said
    assert "Write to them." in said
    assert "hurts" not in said
    show_everybody(report, Persona("everybody", "15", {"Where": "All are on a journey now."}))
    assert "**Everybody** · 15 customers" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("count", "total", "said"),
    [
        (0, 33, "none"),
        (3, 33, "fewer than 5"),
        (1, 5, "fewer than 5"),
        (30, 33, "all but a few"),
        (33, 33, "all"),
        (5, 33, "15%"),
        (5, 5000, "under 1%"),
    ],
)
def test_shares_never_tell_a_small_group(count, total, said):
    assert share_of(count, total, 5) == said


def test_default_rules_speak_of_the_other_buyers_and_promise_no_spending():
    for rule in load_rules().rules:
        assert "buyers" in rule.means
        assert "Spend nothing" not in rule.advice
        assert "page" not in rule.advice  # another page's list may hold none of them, or all
    for name in ("lost", "hibernating"):
        advice = load_rules().rule(name).advice
        assert "little to win" in advice
        assert "cheap" in advice
