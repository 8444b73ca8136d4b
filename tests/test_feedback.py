"""What customers say: the words that differ, whose they are, and what is never shown."""

import csv

import numpy as np
import pytest
import yaml

from cjlib.errors import Unanswerable
from cjlib.journey_map import feedback_table, feedback_words
from cjlib.journey_map.feedback import _log_odds
from cjlib.log import open_log

BAD = ["o produto ainda não chegou", "entrega atrasada, péssimo", "não recebi o produto"]
GOOD = ["produto ótimo, chegou antes", "entrega rápida, recomendo", "gostei do produto"]


@pytest.fixture
def log_of(tmp_path):
    def made(texts, scale=(1, 5), smallest=5):
        """Return the log of (customer, score, text), each after an order."""
        rows = [(who, "2025-01-01", "order", "", "") for who in {who for who, *_ in texts}]
        rows += [
            (who, f"2025-01-{2 + n % 20:02d}", "review", *said)
            for n, (who, *said) in enumerate(texts)
        ]
        with open(tmp_path / "log.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("who", "at", "what", "score", "text"), *rows])
        described = {
            "name": "shop",
            "source": str(tmp_path / "log.csv"),
            "columns": {
                "customer_id": "who",
                "timestamp": {"column": "at", "timezone": "UTC"},
                "touchpoint": "what",
                "sentiment": {"column": "score", "scale": list(scale)},
                "feedback": "text",
            },
            "touchpoints": {
                "order": {"stage": "purchase"},
                "review": {"stage": "post_sale", "purpose": "review"},
            },
            "journey": {"inactivity": "30 days", "purchase": "order"},
            "privacy": {"smallest_group": smallest},
        }
        (tmp_path / "shop.yml").write_text(yaml.safe_dump(described), encoding="utf-8")
        return open_log(tmp_path / "shop.yml")

    return made


def said(customers, rng, bad=BAD, good=GOOD, times=1):
    for customer in range(customers):
        low = customer % 2
        for _ in range(times):
            yield f"c{customer}", 1 if low else 5, str(rng.choice(bad if low else good))


def test_words_of_late_parcels_go_with_one_star(log_of):
    words = feedback_words(log_of([*said(400, np.random.default_rng(1))])).set_index("term")
    assert {"não", "recebi", "não chegou", "atrasada"} <= set(words.index[words["side"] == "bad"])
    assert {"ótimo", "recomendo", "chegou antes"} <= set(words.index[words["side"] == "good"])
    assert words.loc["entrega", "customers"] > 100
    assert words.loc["entrega", "side"] == "neither"
    assert "atrasada péssimo" not in words.index  # a comma stands between


def test_where_both_sides_say_the_same_nothing_is_found(log_of):
    texts = said(600, np.random.default_rng(2), bad=BAD + GOOD, good=BAD + GOOD)
    assert set(feedback_words(log_of([*texts]))["side"]) == {"neither"}


def test_a_customer_who_repeats_a_word_counts_once_though_heavy_users_write_most(log_of):
    texts = [*said(100, np.random.default_rng(3), ["tudo certo"], ["tudo certo"])]
    texts += [("c1", 1, "horrível horrível sempre") for _ in range(80)]
    words = feedback_words(log_of(texts), least=1)
    assert "horrível" not in set(words["term"])  # of one customer, whatever is asked for
    assert words.set_index("term").loc["tudo", "customers"] == 100


def test_numbers_addresses_and_names_are_left_out(log_of):
    texts = [
        (who, score, f"{text} Marta ligou 12345 para ana@mail.com www.loja.com")
        for who, score, text in said(100, np.random.default_rng(4))
    ]
    texts += [(f"d{n}", 1, "Entrega ruim") for n in range(40)]
    terms = set(feedback_words(log_of(texts))["term"])
    assert {"ligou", "entrega"} <= terms  # seen in small letters elsewhere
    assert not any(
        part in term for term in terms for part in ("marta", "12345", "ana", "mail", "www")
    )


def test_where_a_language_writes_nouns_with_capitals_they_stay(log_of):
    bad, good = (
        ["das Paket kam zu spät", "die Lieferung fehlt"],
        ["das Paket kam", "die Lieferung gut"],
    )
    terms = set(feedback_words(log_of([*said(200, np.random.default_rng(5), bad, good)]))["term"])
    assert {"paket", "lieferung", "spät"} <= terms


def test_hostile_texts_are_words_like_others(log_of):
    bad = ["<script>alert('x')</script> [a](http://b) $x$ =cmd"]
    words = feedback_words(log_of([*said(100, np.random.default_rng(6), bad, ["ok then"])]))
    assert {"script", "alert", "cmd"} <= set(words["term"])
    assert not words["term"].str.contains(r"[<>\[\]()$=]").any()


def test_log_odds_are_those_of_the_formula():
    import pandas as pd

    table = _log_odds(pd.DataFrame({"bad": [30.0, 70.0], "good": [10.0, 90.0]}))
    prior = 500 * 40 / 200
    own = np.array([30, 10]) + prior
    odds = np.log(own / (600 - own))
    assert table["log_odds"].iloc[0] == pytest.approx(odds[0] - odds[1])
    assert table["z"].iloc[0] == pytest.approx((odds[0] - odds[1]) / np.sqrt((1 / own).sum()))


def test_shares_and_the_net_promoter_score_are_of_the_touchpoint(log_of):
    scores = [10] * 50 + [8] * 20 + [3] * 30
    log = log_of(
        [(f"c{n}", score, "" if n % 2 else "bom") for n, score in enumerate(scores)], (0, 10)
    )
    (row,) = feedback_table(log).to_dict("records")
    assert (row["customers"], row["n"], row["feedback_share"]) == (50, 50, 0.5)
    assert row["bad_share"] == pytest.approx(0.3)
    assert row["net_promoter"] == pytest.approx(0.2)
    assert row["net_promoter_lower"] < 0.2 < row["net_promoter_upper"]


def test_on_another_scale_there_is_no_net_promoter_score(log_of):
    table = feedback_table(log_of([*said(50, np.random.default_rng(7))]))
    assert table["net_promoter"].isna().all()


def test_too_few_on_one_side_say_nothing(log_of):
    with pytest.raises(Unanswerable):
        feedback_words(log_of([(f"c{n}", 5, "bom") for n in range(60)]))


@pytest.mark.parametrize("texts", [True, False], ids=["with texts", "a copy without"])
def test_the_marketplaces_reviews_are_read_with_their_texts_where_there_are_any(tmp_path, texts):
    days = "2018-01-01 10:00:00,2018-01-02 10:00:00,2018-01-03 10:00:00,2018-01-20 10:00:00"
    tables = {
        "orders": "order_id,customer_id,order_status,order_purchase_timestamp,order_approved_at,"
        "order_delivered_carrier_date,order_delivered_customer_date,order_estimated_delivery_date"
        f"\no1,k1,delivered,{days},2018-01-10 00:00:00",
        "customers": "customer_id,customer_unique_id\nk1,u1",
        "order_payments": "order_id,payment_type,payment_value\no1,boleto,10.00",
        "order_reviews": "order_id,review_score,review_answer_timestamp"
        + ",review_comment_title,review_comment_message" * texts
        + "\no1,1,2018-01-21 10:00:00"
        + ",Atrasado,não chegou a tempo" * texts,
    }
    for name, text in tables.items():
        (tmp_path / f"olist_{name}_dataset.csv").write_text(text + "\n", encoding="utf-8")
    events = open_log("olist", str(tmp_path)).events.to_pandas()
    said = events.set_index("touchpoint")["feedback"].dropna()
    assert said.to_dict() == ({"review": "Atrasado. não chegou a tempo"} if texts else {})
