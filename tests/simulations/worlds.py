"""Worlds unlike the demo: unequal customers with chains of their own, in logs that begin anywhere.

In every company heavy users meet everything more often, arrivals grow and have seasons, and the log
begins in the middle of lives. Here each of these is a number, 0 or infinite where it is not wanted;
and so is what is planted. What a page finds in a world where nothing is planted is false.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from cjlib.log import Log, open_log

BEGIN = pd.Timestamp("2024-01-01")
INACTIVITY = 30  # days of silence that end a journey
HORIZON = 60  # days
STAGES = ("awareness", "consideration", "decision", "purchase", "post_sale")
TOUCHPOINTS = {
    "awareness": ("ad", "search", "video", "friend", "fair", "press"),
    "consideration": ("page", "compare", "review", "price", "chat", "demo", "guide", "store"),
    "decision": ("cart", "checkout", "terms", "voucher", "call"),
    "purchase": ("buy",),
    "post_sale": ("delivery", "manual", "support", "survey"),
}
CHANNELS = ("web", "app", "shop", "phone", "mail")
CHAIN = pd.DataFrame(  # of a visit that is not lost: where it goes on
    [
        [0.00, 0.85, 0.15, 0.00, 0.00],
        [0.15, 0.00, 0.85, 0.00, 0.00],
        [0.05, 0.25, 0.00, 0.70, 0.00],
        [0.00, 0.10, 0.00, 0.00, 0.90],
        [0.20, 0.50, 0.30, 0.00, 0.00],
    ],
    STAGES,
    STAGES,
)
KINDS = (  # chains of customers of three kinds: the first, those who hesitate, those who are quick
    CHAIN.to_numpy(),
    np.array(
        [
            [0.00, 0.95, 0.05, 0.00, 0.00],
            [0.75, 0.00, 0.25, 0.00, 0.00],
            [0.20, 0.70, 0.00, 0.10, 0.00],
            [0.00, 0.10, 0.00, 0.00, 0.90],
            [0.80, 0.20, 0.00, 0.00, 0.00],
        ]
    ),
    np.array(
        [
            [0.00, 0.10, 0.90, 0.00, 0.00],
            [0.05, 0.00, 0.95, 0.00, 0.00],
            [0.00, 0.05, 0.00, 0.95, 0.00],
            [0.00, 0.00, 0.70, 0.00, 0.30],
            [0.00, 0.10, 0.90, 0.00, 0.00],
        ]
    ),
)
LOST = {"awareness": 0.35, "consideration": 0.30, "decision": 0.25, "purchase": 0.3}
LOST |= {"post_sale": 0.85}


@dataclass(frozen=True)
class World:
    """What a log is made of; a customer's *activity* has mean 1."""

    seed: int
    customers: int = 1_500
    days: int = 365  # that the log spans
    born_before: int = 0  # days before the log begins in which customers may have begun as well
    growth: float = 0.0  # arrivals at the end of the log, as a logarithm over those at the begin
    season: float = 0.0  # share by which arrivals rise and fall within a year
    season_from: int = 0  # day of the year on which the log begins
    launch: float = 0.0  # customers who begin in the first three weeks, over all others
    activity: float = 1.0  # shape of the gamma law of activity; infinite: all alike
    journeys: float = 3.0  # a year and customer, on average
    staying: float = math.inf  # days until a customer leaves for ever, on average
    own_chains: float = 20.0  # concentration of customers' own chains; infinite: all alike
    kinds: int = 1  # of customers, with chains, touchpoints and channels of their own; by id
    visit_events: float = 1.0  # events of a visit beyond the first, on average
    longer_visits: float = 0.0  # power of activity on that number
    buys_more: float = 0.0  # power of activity on the odds of not being lost before the purchase
    preferred: Mapping[str, float] = field(default_factory=dict)  # touchpoint: power on its weight
    loss_by_length: float = 0.0  # added to the loss of a visit by each event beyond the first
    loss: Mapping[str, float] = field(default_factory=dict)  # touchpoint: added to its visit's loss
    later_loss: float = 0.0  # added to the loss of every visit of a customer's second journey on
    change: tuple[float, str, float] | None = None  # from this day on, added to a stage's loss


def rows_of(world: World, since: float = 0) -> pd.DataFrame:
    """Return the events of a world: customer_id, timestamp, touchpoint, channel, value.

    With `since` below 0 also what happened before the log begins.
    """
    rng = np.random.default_rng(world.seed)
    number = world.customers
    if math.isinf(world.activity):
        activity = np.ones(number)
    else:
        activity = rng.gamma(world.activity, 1 / world.activity, number).clip(0.02)
    born = births(world, rng)
    left = born + (
        math.inf if math.isinf(world.staying) else rng.exponential(world.staying, number)
    )
    parts = [
        _life(world, rng, who, activity[who], born[who], min(left[who], world.days))
        for who in range(number)
    ]
    rows = [row for part in parts for row in part]
    table = pd.DataFrame(rows, columns=["customer_id", "day", "touchpoint"])
    table = table[table["day"].between(since, world.days, inclusive="left")]
    table["timestamp"] = (BEGIN + pd.to_timedelta(table.pop("day"), unit="D")).dt.floor("s")
    channel = rng.choice(len(CHANNELS), len(table), p=_zipf(len(CHANNELS)))
    channel += 2 * (table["customer_id"] % world.kinds)
    table["channel"] = np.array(CHANNELS)[channel % len(CHANNELS)]
    value = np.exp(rng.normal(4, 0.6, len(table))).round(2)
    table["value"] = np.where(table["touchpoint"] == "buy", value, np.nan)
    table["customer_id"] = "c" + table["customer_id"].astype(str)
    return table.sort_values(["timestamp", "customer_id"], kind="stable", ignore_index=True)


def births(world: World, rng: np.random.Generator) -> np.ndarray:
    """Draw days at which customers begin, growing and with a season."""
    days = np.arange(-world.born_before, world.days)
    weight = np.exp(world.growth * days / world.days)
    weight *= 1 + world.season * np.sin(2 * np.pi * (days + world.season_from) / 365)
    weight[(days >= 0) & (days < 21)] += world.launch * weight.sum() / 21
    return rng.choice(days, world.customers, p=weight / weight.sum()) + rng.random(world.customers)


def _life(
    world: World, rng: np.random.Generator, who: int, activity: float, born: float, until: float
) -> list[tuple[int, float, str]]:
    kind = who % world.kinds
    chain = KINDS[kind]
    if not math.isinf(world.own_chains):
        chain = rng.gamma(np.maximum(chain, 1e-9) * world.own_chains) * (chain > 0)
        chain /= np.maximum(chain.sum(axis=1, keepdims=True), 1e-12)
    weights = {}
    for stage, names in TOUCHPOINTS.items():
        power = np.array([activity ** world.preferred.get(name, 0.0) for name in names])
        weight = np.roll(_zipf(len(names)), 2 * kind) * power
        weights[stage] = weight / weight.sum()
    beyond = world.visit_events * activity**world.longer_visits
    events, day, journey = [], born, 0
    while day < until:
        stage = int(rng.choice(3, p=[0.6, 0.3, 0.1]))
        while day < until:
            name = STAGES[stage]
            length = 1 + rng.poisson(beyond)
            met = rng.choice(len(weights[name]), length, p=weights[name])
            met = [TOUCHPOINTS[name][one] for one in met] if name != "purchase" else ["buy"]
            for touchpoint in met:
                events.append((who, day, touchpoint))
                # Bursts and pauses, never as long as the silence that ends a journey.
                day += min(rng.lognormal(-1.5, 1.5), INACTIVITY - 1)
            if rng.random() < _loss(world, name, met, activity, journey, day):
                break
            stage = int(rng.choice(len(STAGES), p=chain[stage]))
        journey += 1
        day += INACTIVITY + 1 + rng.exponential(365 / (world.journeys * activity))
    return events


def _loss(world, stage: str, met: list[str], activity: float, journey: int, day: float) -> float:
    loss = LOST[stage]
    if stage in STAGES[:3]:
        odds = loss / (1 - loss) / activity**world.buys_more
        loss = odds / (1 + odds) + world.loss_by_length * (len(met) - 1)
    loss += sum(added for name, added in world.loss.items() if name in met)
    loss += world.later_loss * (journey > 0)
    if world.change and stage == world.change[1] and day >= world.change[0]:
        loss += world.change[2]
    return loss


def _zipf(number: int) -> np.ndarray:
    weights = 1 / np.arange(1, number + 1)
    return weights / weights.sum()


def described(name: str = "world") -> dict:
    """Return the dataset file of a world."""
    touchpoints = {
        touchpoint: {"stage": stage, "initiator": "customer", "medium": "online"}
        for stage, names in TOUCHPOINTS.items()
        for touchpoint in names
    }
    return {
        "name": name,
        "title": "A world",
        "source": f"{name}.parquet",
        "columns": {
            "customer_id": "customer_id",
            "timestamp": {"column": "timestamp", "timezone": "UTC"},
            "touchpoint": "touchpoint",
            "channel": "channel",
            "value": "value",
        },
        "currency": "EUR",
        "stage_model": "five_phases",
        "touchpoints": touchpoints,
        "journey": {"inactivity": f"{INACTIVITY} days", "purchase": ["buy"]},
        "churn": {"horizon": f"{HORIZON} days"},
    }


def log_of(world: World, folder: Path, **changes) -> Log:
    """Write a world's rows and dataset file into a folder, and open its log."""
    rows_of(world).to_parquet(folder / "world.parquet", index=False)
    (folder / "world.yml").write_text(yaml.safe_dump(described() | changes))
    return open_log(folder / "world.yml")
