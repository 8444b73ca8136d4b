"""Make the demo: a year of an omnichannel retailer's event log, with planted truths.

The state machine, one step per stage visit:

1. A customer of a kind arrives and starts a journey in awareness, consideration or decision.
2. A visit holds one or more events of its stage. In a decision visit a `payment_error` may
   strike, in a post-sale visit (every one follows a purchase) the delivery comes on time or late
   and support may be asked and may resolve. All this is drawn for each visit on its own.
3. The next stage is drawn from the kind's row of its stage; a payment error or a late delivery
   multiplies the row's `lost`. So the visits of a kind are a first-order Markov chain, and
   `Behaviour.matrix` states its probabilities exactly, before and after the change.
4. Within a journey the next visit begins before the inactivity has passed. A lost journey is
   followed by a new one after the inactivity, or the customer leaves for good: more often when
   the last delivery was late, less so when support resolved it. Nothing else makes customers
   leave: not the newsletter, not the channel.

What an option turns off is not there: `kinds=False` has one kind of customer, `change=False` one
rate of payment errors all year, `effects=False` neither pain points nor a moment of truth (the
touchpoints stay, without effect), `dirt=False` a clean log.

Run `python data/demo/generate.py` to make the committed files again, and with `--rows-only` for
load tests: `--customers 430000 --rows-only big.parquet` makes ten million events.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

if not __package__:  # run as a script
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from data.demo import behaviour as b, files, truth


@dataclass(frozen=True)
class Demo:
    """One generated log: columns of arrays, turned into tables when asked for."""

    seed: int
    options: dict
    behaviour: b.Behaviour
    ids: np.ndarray  # customer_id by customer number
    kind: np.ndarray  # kind number by customer number
    event: dict[str, np.ndarray]  # customer, time, code, channel, value, sentiment; in file order
    visit: dict[str, np.ndarray]  # customer, journey, visit, stage, next, started, ended, …

    @cached_property
    def table(self) -> pa.Table:
        """The clean log as an Arrow table, in the order of the file."""
        event = self.event
        number = pc.utf8_lpad(pa.array(np.arange(1, len(event["time"]) + 1)).cast("string"), 8, "0")

        def words(codes, names) -> pa.Array:
            return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(list(names)))

        return pa.table(
            {
                "event_id": pc.binary_join_element_wise("E", number, ""),
                "customer_id": words(event["customer"], self.ids),
                "timestamp": b.START + event["time"].astype("timedelta64[s]"),
                "touchpoint": words(event["code"], b.NAMES),
                "channel": words(event["channel"], b.CHANNELS),
                "value": pa.array(event["value"], from_pandas=True),
                "sentiment": pa.array(event["sentiment"], from_pandas=True),
            }
        )

    @cached_property
    def events(self) -> pd.DataFrame:
        """The clean log, one row per event."""
        text = [(f.name, pa.string()) for f in self.table.schema if pa.types.is_dictionary(f.type)]
        schema = self.table.schema
        for name, kind in text:
            schema = schema.set(schema.get_field_index(name), pa.field(name, kind))
        return self.table.cast(schema).to_pandas()

    @cached_property
    def visits(self) -> pd.DataFrame:
        """The stage visits the log shows, with the kind; `next_stage` is missing where open.

        `settled` says that the visit ended so early that its next stage was seen whatever it was.
        Among the others losses are missing more often than moves, so only settled visits show
        the planted probabilities.
        """
        v = self.visit
        shown = v["started"] < b.END
        v = {name: column[shown] for name, column in v.items()}
        names = np.array([*b.STAGES, "lost"], dtype=object)
        next_stage = names[v["next"]]
        lost = v["next"] == b.LOST
        settled = v["ended"] + b.INACTIVITY < b.END
        seen = np.where(lost, settled, v["next_started"] < b.END)
        next_stage[~seen] = None
        return pd.DataFrame(
            {
                "customer_id": self.ids[v["customer"]],
                "kind": np.array(self.behaviour.names, dtype=object)[self.kind[v["customer"]]],
                "journey": v["journey"],
                "visit": v["visit"],
                "stage": names[v["stage"]],
                "channel": np.array(b.CHANNELS, dtype=object)[v["channel"]],
                "started": b.START + v["started"].astype("timedelta64[s]"),
                "ended": b.START + np.minimum(v["ended"], b.END).astype("timedelta64[s]"),
                "next_stage": next_stage,
                "settled": settled,
            }
        ).sort_values(["customer_id", "journey", "visit"], ignore_index=True)

    @cached_property
    def customers(self) -> pd.DataFrame:
        """Kind and true churn probability of every customer; missing without a purchase before."""
        return pd.DataFrame(
            {
                "customer_id": self.ids,
                "kind": np.array(self.behaviour.names, dtype=object)[self.kind],
                "churn_probability": truth.churn_probability(self),
            }
        )

    @cached_property
    def truth(self) -> dict:
        """What was planted, for tests to hold analyses against."""
        return truth.planted(self)


def generate(
    customers: int = 3000,
    seed: int = 7,
    *,
    kinds: bool = True,
    change: bool = True,
    effects: bool = True,
    dirt: bool = True,
) -> Demo:
    """Simulate the log of `customers` customers; the same arguments give the same log."""
    rng = np.random.default_rng(seed)
    machine = b.Behaviour.of(kinds, change, effects)
    kind = b.pick(rng, np.tile(machine.share, (customers, 1))).astype(np.int8)
    mood = rng.normal(0, 0.12, size=customers)

    who = np.arange(customers, dtype=np.int32)
    stage = b.pick(rng, machine.starts[kind]).astype(np.int8)
    started = arrivals(rng, customers)
    hurt = np.zeros(customers)
    journey = np.zeros(customers, dtype=np.int16)
    number = np.zeros(customers, dtype=np.int16)
    events, visits = [], []
    while len(who):
        k = kind[who]
        now = b.visit(rng, machine, k, stage, started, hurt)
        next_stage, stage_then, then = b.onward(
            rng, machine, k, stage, now.ended, now.strain, now.hurt
        )
        events.append(event_rows(rng, machine, who, k, now, mood[who]))
        visits.append(
            {
                "customer": who,
                "journey": journey,
                "visit": number,
                "stage": stage,
                "next": next_stage,
                "channel": now.channel,
                "started": started,
                "ended": now.ended,
                "next_started": then,
                "error": now.error,
                "hurt": now.hurt,
            }
        )
        lost = next_stage == b.LOST
        on = then < b.END
        who, stage, started, hurt = who[on], stage_then[on], then[on], now.hurt[on]
        journey = (journey + lost)[on]
        number = np.where(lost, 0, number + 1)[on].astype(np.int16)

    event = {name: np.concatenate([e[name] for e in events]) for name in events[0]}
    order = np.lexsort((event["customer"], event["time"]))
    return Demo(
        seed=seed,
        options={"kinds": kinds, "change": change, "effects": effects, "dirt": dirt},
        behaviour=machine,
        ids=customer_ids(customers, dirt),
        kind=kind,
        event={name: column[order] for name, column in event.items()},
        visit={name: np.concatenate([v[name] for v in visits]) for name in visits[0]},
    )


def arrivals(rng: np.random.Generator, customers: int) -> np.ndarray:
    """Draw first moments: known customers in the first month, new ones with the seasonal wave."""
    days = np.arange(b.LAST_ARRIVAL)
    wave = b.WAVE
    rate = 1 + wave["height"] * np.exp(-(((days - wave["centre"]) / wave["width"]) ** 2) / 2)
    day = np.where(
        rng.random(customers) < b.KNOWN,
        rng.integers(b.KNOWN_DAYS, size=customers),
        rng.choice(days, size=customers, p=rate / rate.sum()),
    )
    return day * b.DAY + rng.integers(b.DAY, size=customers)


def event_rows(rng, machine: b.Behaviour, who, kind, now: b.Visit, mood) -> dict:
    """Flatten the visits of one step into events, with value and sentiment."""
    row, slot = np.nonzero((now.codes >= 0) & (now.times < b.END))
    code = now.codes[row, slot]
    own = np.array([b.OWN_CHANNEL.get(name, -1) for name in b.NAMES], dtype=np.int8)[code]
    median, sigma = machine.value[kind[row]].T
    buys = np.array([t[0] == b.PURCHASE for t in b.TOUCHPOINTS.values()])[code]
    value = np.where(buys, median * np.exp(sigma * rng.standard_normal(len(row))), np.nan)
    # whoever was let down feels worse until the next delivery
    mean = np.array([t[4] for t in b.TOUCHPOINTS.values()])[code] - 0.25 * now.hurt[row]
    feeling = np.clip(mean + mood[row] + 0.2 * rng.standard_normal(len(row)), -1, 1)
    told = rng.random(len(row)) < 0.7
    return {
        "customer": who[row],
        "time": now.times[row, slot],
        "code": code,
        "channel": np.where(own >= 0, own, now.channel[row]).astype(np.int8),
        "value": np.round(value, 2),
        "sentiment": np.round(np.where(told, feeling, np.nan), 2),
    }


def customer_ids(customers: int, dirt: bool) -> np.ndarray:
    """Name the customers; with dirt, some are known by an e-mail address (valid, and kept)."""
    width = max(5, len(str(customers)))
    ids = np.array([f"C{number:0{width}d}" for number in range(1, customers + 1)], dtype=object)
    if dirt:
        for number in range(0, customers, max(customers // files.EMAIL_IDS, 1)):
            ids[number] = f"customer{number + 1}@example.com"
    return ids


@click.command()
@click.option("--customers", default=3000, show_default=True)
@click.option("--seed", default=7, show_default=True)
@click.option("--kinds/--no-kinds", default=True, show_default=True)
@click.option("--change/--no-change", default=True, show_default=True)
@click.option("--effects/--no-effects", default=True, show_default=True)
@click.option("--dirt/--no-dirt", default=True, show_default=True)
@click.option("--out", type=Path, default=Path(__file__).parent, help="Folder to write into.")
@click.option("--rows-only", type=Path, help="Write clean rows alone to this .parquet or .csv.")
def main(customers, seed, kinds, change, effects, dirt, out, rows_only) -> None:
    """Make a demo log."""
    demo = generate(customers, seed, kinds=kinds, change=change, effects=effects, dirt=dirt)
    if rows_only:
        files.write_rows(demo, rows_only)
    else:
        files.write(demo, out)
    click.echo(f"{demo.table.num_rows} events of {customers} customers")


if __name__ == "__main__":
    main()
