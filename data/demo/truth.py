"""What the demo planted: stated from the constants, and each customer's own churn probability."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from data.demo import behaviour as b, files

PATHS = 10_000  # Monte Carlo paths per state: a standard error of at most .005
HURTS = (0.0, 1 - b.RESTORED, 1.0)


def planted(demo) -> dict:
    """Return all planted truths as plain values."""
    machine, options = demo.behaviour, demo.options
    visits = demo.visits
    kept = len(demo.event["time"])
    dirt = dict(files.DIRT) if options["dirt"] else {}
    duplicates = dirt.get("duplicate", 0)
    error_after = {
        kind: round(float(b.ERROR_RATE + mobile * (machine.error_after - b.ERROR_RATE)), 4)
        for kind, mobile in zip(machine.names, machine.channels[:, b.MOBILE], strict=True)
    }
    truth = {
        "made_with": {"customers": len(demo.ids), "seed": demo.seed, **options},
        "first": str(b.START).replace("T", " "),
        "as_of": str(b.AS_OF).replace("T", " "),
        "inactivity_days": b.INACTIVITY // b.DAY,
        "horizon_days": b.HORIZON // b.DAY,
        "stages": list(b.STAGES),
        "customers": len(np.unique(demo.event["customer"])),
        "rows": {
            "read": kept + sum(dirt.values()),
            "kept": kept,
            "quarantined": sum(dirt.values()) - duplicates,
            "duplicates": duplicates,
        },
        "dirt": dirt,
        "kept_oddities": {
            "ids that are e-mail addresses": sum("@" in name for name in demo.ids),
            "channels with markup": files.CHANNELS_WITH_MARKUP,
        }
        if options["dirt"]
        else {},
        "kinds": {},
    }
    for number, kind in enumerate(machine.names):
        median, sigma = (float(x) for x in machine.value[number])
        truth["kinds"][kind] = {
            "share": float(machine.share[number]),
            "order_value": {
                "median": round(median, 2),
                "mean": round(float(median * np.exp(sigma**2 / 2)), 2),
            },
            "leaves_for_good": round(float(machine.leave[number]), 4),
            "channels": shares(b.CHANNELS[:4], machine.channels[number]),
            "journey_starts": shares(b.STAGES[:3], machine.starts[number]),
            "transitions": {
                "before_change": matrix(machine.matrix(False)[number]),
                "after_change": matrix(machine.matrix(True)[number]),
            },
        }
    truth["settled"] = (
        "the matrices hold for visits that ended more than the inactivity before as_of: of later "
        "ones a move is seen at once, a loss not yet"
    )
    truth["everybody"] = {
        "note": "the kinds' rows weighted by the settled visits of this very log",
        "transitions": {
            name: matrix(everybody(machine, visits, changed))
            for name, changed in (("before_change", False), ("after_change", True))
        },
    }
    truth["change"] = {
        "planted": options["change"],
        "date": str(b.CHANGE)[:10],
        "channel": "mobile",
        "touchpoint": "payment_error",
        "rate_before": b.ERROR_RATE,
        "rate_after": machine.error_after,
        "rate_after_all_channels": error_after,
        "row": "decision",
        "note": "by the start of the visit; the row's lost rises, its other cells shrink alike",
    }
    truth["pain_points"] = {
        "payment_error": {
            "stage": "decision",
            "rate": b.ERROR_RATE,
            "drop_off_factor": machine.error_drop_off,
            "note": "of decision visits with the error against those without, within a kind",
        },
        "delivery_late": {
            "stage": "post_sale",
            "rate": b.LATE_RATE,
            "drop_off_factor": machine.late_drop_off,
            "leave_factor": machine.late_leave,
            "sentiment": b.TOUCHPOINTS["delivery_late"][4],
            "note": "unresolved; leave: never coming back after a journey, until the next delivery",
        },
    }
    truth["moments_of_truth"] = {
        "support_resolved": {
            "after": "delivery_late",
            "rate": round(b.SUPPORT_AFTER_LATE * b.RESOLVED_RATE, 4),
            "restored": b.RESTORED,
            "drop_off_factor": round(1 + (machine.late_drop_off - 1) * (1 - b.RESTORED), 4),
            "leave_factor": round(1 + (machine.late_leave - 1) * (1 - b.RESTORED), 4),
        }
    }
    truth["without_effect"] = {
        "touchpoints": {"newsletter_open": {"rate_of_awareness_visits": b.NEWSLETTER_RATE}},
        "channels": {"affiliate": {"share_of_visits": float(machine.channels[0, b.AFFILIATE])}},
    }
    truth["wave"] = {
        "centre": str(b.START + np.timedelta64(b.WAVE["centre"], "D"))[:10],
        "width_days": b.WAVE["width"],
        "rate_at_centre": 1 + b.WAVE["height"],
        "note": "arrivals of new customers, after the known ones of the first month",
    }
    probability = demo.customers["churn_probability"]
    truth["churn"] = {
        "cutoff": str(b.AS_OF - np.timedelta64(b.HORIZON, "s")).replace("T", " "),
        "buyers": int(probability.notna().sum()),
        "expected_share": round(float(probability.mean()), 4),
        "observed_share": round(float(churned(demo).mean()), 4),
        "method": (
            f"Monte Carlo, {PATHS} paths per state of the generator's own machine: kind, last "
            "visit's stage, payment error, last delivery (and support), given no event since"
        ),
    }
    return truth


def shares(names, values) -> dict:
    """Return names with rounded values."""
    return {name: round(float(value), 4) for name, value in zip(names, values, strict=True)}


def matrix(rows: np.ndarray) -> dict:
    """Return a (5, 6) matrix as names, without its zeros."""
    names = (*b.STAGES, "lost")
    return {
        stage: {to: round(float(p), 6) for to, p in zip(names, row, strict=True) if p > 0}
        for stage, row in zip(b.STAGES, rows, strict=True)
    }


def everybody(machine: b.Behaviour, visits, changed: bool) -> np.ndarray:
    """Return the mean of the kinds' matrices, weighted by their visits in the period."""
    chosen = visits[visits["settled"] & ((visits["started"] >= b.CHANGE) == changed)]
    counts = chosen.groupby(["kind", "stage"]).size().unstack("kind", fill_value=0)
    weight = counts.reindex(index=b.STAGES, columns=machine.names, fill_value=0).to_numpy().T
    weight = weight / np.maximum(weight.sum(axis=0), 1)
    return (weight[:, :, None] * machine.matrix(changed)).sum(axis=0)


def last_visits(demo) -> dict[str, np.ndarray]:
    """Return each buyer's last visit begun before the cut-off."""
    visit = {name: column[demo.visit["started"] < b.CUTOFF] for name, column in demo.visit.items()}
    buyers = np.unique(visit["customer"][visit["stage"] == b.PURCHASE])
    order = np.lexsort((visit["started"], visit["customer"]))
    customer = visit["customer"][order]
    last = np.append(customer[1:] != customer[:-1], True)
    last[last] = np.isin(customer[last], buyers)
    return {name: column[order][last] for name, column in visit.items()}


def churned(demo) -> np.ndarray:
    """Return whether each buyer, in the order of `last_visits`, bought nothing in the horizon."""
    visit = demo.visit
    bought = (
        (visit["stage"] == b.PURCHASE)
        & (visit["started"] >= b.CUTOFF)
        & (visit["started"] < b.CUTOFF + b.HORIZON)
    )
    return ~np.isin(last_visits(demo)["customer"], visit["customer"][bought])


def churn_probability(demo) -> np.ndarray:
    """Return each customer's probability to buy nothing in the horizon; NaN for non-buyers.

    Given the kind, the last visit (its stage, whether a payment error struck in it), how the last
    delivery went, and that nothing followed that visit until the cut-off. What customers will do
    next, or that they have left, is not given: nobody can see it.
    """
    last = last_visits(demo)
    states = state_number(demo.kind[last["customer"]], last)
    silent = b.CUTOFF - last["ended"]
    options = demo.options
    wait, purchase = waits(options["kinds"], options["change"], options["effects"])
    result = np.full(len(demo.ids), np.nan)
    for state in np.unique(states):
        here = np.flatnonzero(states == state)
        still = wait[state][None, :] > silent[here, None]
        none = purchase[state][None, :] >= silent[here, None] + b.HORIZON
        result[last["customer"][here]] = (still & none).sum(axis=1) / still.sum(axis=1)
    return result


def state_number(kind: np.ndarray, last: dict[str, np.ndarray]) -> np.ndarray:
    """Number the states: kind; stage, with a decision visit with an error apart; level of hurt."""
    situation = last["stage"] + (last["stage"] > b.DECISION) + last["error"]
    hurt = np.searchsorted(HURTS, last["hurt"] - 1e-9)
    return (kind.astype(int) * 6 + situation) * 3 + hurt


@lru_cache(maxsize=4)
def waits(kinds: bool, change: bool, effects: bool) -> tuple[np.ndarray, np.ndarray]:
    """Simulate on from the end of a visit in each state, (states, PATHS) each.

    Returns the seconds to the next visit and to the next purchase.
    """
    machine = b.Behaviour.of(kinds, change, effects)
    rng = np.random.default_rng(0)
    kind, situation, level = (
        np.repeat(part.ravel(), PATHS).astype(np.int8)
        for part in np.indices((len(machine.names), 6, 3))
    )
    error = situation == b.DECISION + 1
    stage = situation - (situation > b.DECISION).astype(np.int8)
    hurt = np.array(HURTS)[level]
    strain = np.where(error, machine.error_drop_off, 1.0)
    strain += np.where(stage == b.POST_SALE, (machine.late_drop_off - 1) * hurt, 0)
    # all later visits fall after the cut-off, hence after the change
    ended = np.full(len(kind), b.CUTOFF)
    _, stage, start = b.onward(rng, machine, kind, stage, ended, strain, hurt)
    wait = start - b.CUTOFF
    purchase = np.full(len(kind), 100 * b.END)
    path = np.arange(len(kind))
    while len(path):
        buys = stage == b.PURCHASE
        purchase[path[buys]] = start[buys] - b.CUTOFF
        on = ~buys & (start < b.CUTOFF + b.END + b.HORIZON)
        path, stage, start, hurt = path[on], stage[on], start[on], hurt[on]
        now = b.visit(rng, machine, kind[path], stage, start, hurt)
        _, stage, start = b.onward(rng, machine, kind[path], stage, now.ended, now.strain, now.hurt)
        hurt = now.hurt
    return wait.reshape(-1, PATHS), purchase.reshape(-1, PATHS)
