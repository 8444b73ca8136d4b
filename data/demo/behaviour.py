"""How the demo's customers behave: the constants of the state machine, and its two draws.

`visit` draws what happens while a customer is in a stage, `onward` where the customer goes next
and when. Both work on arrays, one entry per customer. The machine is described in `generate`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STAGES = ("awareness", "consideration", "decision", "purchase", "post_sale")
AWARENESS, CONSIDERATION, DECISION, PURCHASE, POST_SALE, LOST = range(6)

START = np.datetime64("2025-02-01T00:00:00")
AS_OF = np.datetime64("2026-02-01T00:00:00")
CHANGE = np.datetime64("2025-09-01T00:00:00")
DAY = 86_400  # all times are whole seconds since START
END = int((AS_OF - START).astype(int))
CHANGED = int((CHANGE - START).astype(int))
INACTIVITY = 21 * DAY
HORIZON = 60 * DAY
CUTOFF = END - HORIZON

# Arrivals: known customers show up in the first month, new ones later, with a wave in June.
KNOWN, KNOWN_DAYS, LAST_ARRIVAL = 0.2, 30, 305
WAVE = {"centre": 140, "width": 12, "height": 2.5}  # days since START; times the usual rate

# Pain points, moment of truth, change.
ERROR_RATE, ERROR_RATE_MOBILE_AFTER, ERROR_DROP_OFF = 0.08, 0.55, 2.0
LATE_RATE, LATE_DROP_OFF, LATE_LEAVE = 0.22, 1.4, 6.0
SUPPORT_AFTER_LATE, SUPPORT_OTHERWISE, RESOLVED_RATE, RESTORED = 0.75, 0.10, 0.55, 0.8
NEWSLETTER_RATE = 0.15

CHANNELS = ("web", "mobile", "store", "affiliate", "email", "courier", "phone")
WEB, MOBILE, STORE, AFFILIATE, EMAIL, COURIER, PHONE = range(7)

# kind: share of customers, journey starts (awareness, consideration, decision), rows of the
# stage-transition matrix without any payment error or late delivery (to the five stages, then
# lost), probability to leave for good at a journey's end, pace (1 = usual gaps), order value
# (median, sigma of its logarithm), channels (web, mobile, store, affiliate).
KINDS = {
    "explorer": {
        "share": 0.25,
        "starts": (0.60, 0.38, 0.02),
        "rows": (
            (0.00, 0.84, 0.02, 0.01, 0.00, 0.13),
            (0.54, 0.00, 0.33, 0.02, 0.00, 0.11),
            (0.30, 0.10, 0.00, 0.45, 0.00, 0.15),
            (0.03, 0.03, 0.01, 0.00, 0.86, 0.07),
            (0.25, 0.10, 0.02, 0.01, 0.00, 0.62),
        ),
        "leave": 0.05,
        "pace": 1.0,
        "value": (180.0, 0.5),
        "channels": (0.34, 0.33, 0.23, 0.10),
    },
    "impulsive": {
        "share": 0.25,
        "starts": (0.85, 0.03, 0.12),
        "rows": (
            (0.00, 0.05, 0.60, 0.21, 0.00, 0.14),
            (0.12, 0.00, 0.48, 0.22, 0.00, 0.18),
            (0.14, 0.02, 0.00, 0.66, 0.00, 0.18),
            (0.12, 0.02, 0.04, 0.00, 0.72, 0.10),
            (0.30, 0.02, 0.06, 0.04, 0.00, 0.58),
        ),
        "leave": 0.06,
        "pace": 0.9,
        "value": (35.0, 0.4),
        "channels": (0.20, 0.55, 0.15, 0.10),
    },
    "regular": {
        "share": 0.25,
        "starts": (0.05, 0.30, 0.65),
        "rows": (
            (0.00, 0.62, 0.22, 0.03, 0.00, 0.13),
            (0.03, 0.00, 0.76, 0.11, 0.00, 0.10),
            (0.02, 0.08, 0.00, 0.76, 0.00, 0.14),
            (0.01, 0.02, 0.04, 0.00, 0.88, 0.05),
            (0.02, 0.15, 0.25, 0.03, 0.00, 0.55),
        ),
        "leave": 0.03,
        "pace": 0.8,
        "value": (70.0, 0.3),
        "channels": (0.30, 0.40, 0.20, 0.10),
    },
    "hesitant": {
        "share": 0.25,
        "starts": (0.12, 0.68, 0.20),
        "rows": (
            (0.00, 0.74, 0.12, 0.01, 0.00, 0.13),
            (0.05, 0.00, 0.75, 0.02, 0.00, 0.18),
            (0.02, 0.52, 0.00, 0.28, 0.00, 0.18),
            (0.02, 0.14, 0.03, 0.00, 0.72, 0.09),
            (0.04, 0.26, 0.08, 0.02, 0.00, 0.60),
        ),
        "leave": 0.06,
        "pace": 1.0,
        "value": (55.0, 0.6),
        "channels": (0.35, 0.45, 0.10, 0.10),
    },
}

# touchpoint: stage, initiator, medium, weight among the free touchpoints of its stage (0: it has
# its own rule), mean sentiment
TOUCHPOINTS = {
    "social_ad": (AWARENESS, "company", "online", 3, 0.10),
    "web_search": (AWARENESS, "customer", "online", 4, 0.10),
    "store_window": (AWARENESS, "company", "physical", 3, 0.10),
    "word_of_mouth": (AWARENESS, "customer", "physical", 2, 0.10),
    "newsletter_open": (AWARENESS, "company", "online", 0, 0.10),
    "product_view": (CONSIDERATION, "customer", "online", 6, 0.15),
    "product_compare": (CONSIDERATION, "customer", "online", 2, 0.15),
    "retargeting_ad": (CONSIDERATION, "company", "online", 2, 0.05),
    "store_visit": (CONSIDERATION, "customer", "physical", 4, 0.25),
    "product_demo": (CONSIDERATION, "company", "physical", 1, 0.30),
    "add_to_cart": (DECISION, "customer", "online", 4, 0.20),
    "voucher_offer": (DECISION, "company", "online", 1, 0.20),
    "fitting_room": (DECISION, "customer", "physical", 2, 0.20),
    "shop_assistant": (DECISION, "company", "physical", 2, 0.25),
    "checkout": (DECISION, "customer", "online", 0, 0.10),
    "payment_error": (DECISION, "company", "online", 0, -0.50),
    "order_placed": (PURCHASE, "customer", "online", 1, 0.35),
    "store_purchase": (PURCHASE, "customer", "physical", 1, 0.40),
    "delivery_on_time": (POST_SALE, "company", "physical", 0, 0.45),
    "delivery_late": (POST_SALE, "company", "physical", 0, -0.60),
    "support_request": (POST_SALE, "customer", "online", 0, -0.20),
    "support_resolved": (POST_SALE, "company", "online", 0, 0.40),
    "review": (POST_SALE, "customer", "online", 3, 0.30),
    "product_guide": (POST_SALE, "company", "online", 2, 0.20),
    "product_return": (POST_SALE, "customer", "physical", 1, 0.00),
}
NAMES = tuple(TOUCHPOINTS)
CODE = {name: code for code, name in enumerate(NAMES)}
OWN_CHANNEL = {
    "newsletter_open": EMAIL,
    "delivery_on_time": COURIER,
    "delivery_late": COURIER,
    "support_request": PHONE,
    "support_resolved": PHONE,
}
# A visit has up to six events: a first, two further free ones, then those with a rule.
SLOTS, FREE = 6, 3
FURTHER = (1.0, 0.05, 0.02)
HOURS = np.array([0, 2, 3, 8, 30, 1])  # mean hours since the event before, by slot
GAP_DAYS = np.array([3.0, 3.0, 1.5, 3.0, 6.0])  # mean days to the next visit, by stage
RETURN_DAYS = 20.0  # mean days from the end of the silence to the next journey


@dataclass(frozen=True)
class Behaviour:
    """The constants as arrays over kinds, with the options of `generate` applied."""

    names: tuple[str, ...]
    share: np.ndarray
    starts: np.ndarray
    rows: np.ndarray
    leave: np.ndarray
    pace: np.ndarray
    value: np.ndarray
    channels: np.ndarray
    error_after: float
    error_drop_off: float
    late_drop_off: float
    late_leave: float

    @classmethod
    def of(cls, kinds: bool = True, change: bool = True, effects: bool = True) -> Behaviour:
        """Return the behaviour; without kinds all customers are the mean of the four."""

        def over_kinds(key: str) -> np.ndarray:
            array = np.array([kind[key] for kind in KINDS.values()], dtype=float)
            return array if kinds else array.mean(axis=0, keepdims=True)

        return cls(
            names=tuple(KINDS) if kinds else ("everyone",),
            share=over_kinds("share") if kinds else np.ones(1),
            starts=over_kinds("starts"),
            rows=over_kinds("rows"),
            leave=over_kinds("leave"),
            pace=over_kinds("pace"),
            value=over_kinds("value"),
            channels=over_kinds("channels"),
            error_after=ERROR_RATE_MOBILE_AFTER if change else ERROR_RATE,
            error_drop_off=ERROR_DROP_OFF if effects else 1.0,
            late_drop_off=LATE_DROP_OFF if effects else 1.0,
            late_leave=LATE_LEAVE if effects else 1.0,
        )

    def matrix(self, changed: bool) -> np.ndarray:
        """Return what the log shows, (kinds, 5, 6): the rows averaged over what visits hold.

        Errors and late deliveries strike each visit independently of all before it, so the stage
        visits of one kind are a Markov chain with exactly these probabilities.
        """
        mobile = self.channels[:, MOBILE]
        error = ERROR_RATE + mobile * ((self.error_after if changed else ERROR_RATE) - ERROR_RATE)
        resolved = SUPPORT_AFTER_LATE * RESOLVED_RATE
        hurt = LATE_RATE * (1 - resolved + resolved * (1 - RESTORED))
        factor = np.ones((len(self.names), 5))
        factor[:, DECISION] += (self.error_drop_off - 1) * error
        factor[:, POST_SALE] += (self.late_drop_off - 1) * hurt
        return strained(self.rows, factor)


@dataclass
class Visit:
    """What happened in each of n visits: event codes (n, SLOTS; -1 none), times, strain, hurt."""

    codes: np.ndarray
    times: np.ndarray
    ended: np.ndarray
    channel: np.ndarray
    error: np.ndarray  # whether a payment error struck
    strain: np.ndarray  # factor on the probability that the journey ends here
    hurt: np.ndarray  # 0 none, 1 late delivery unresolved, 1 - RESTORED resolved; carried on


def strained(rows: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Multiply each row's `lost` by its factor and shrink the other entries alike."""
    lost = rows[..., LOST] * factor
    onward = (1 - lost) / (1 - rows[..., LOST])
    return np.concatenate([rows[..., :LOST] * onward[..., None], lost[..., None]], axis=-1)


def pick(rng: np.random.Generator, probabilities: np.ndarray) -> np.ndarray:
    """Draw one column per row of `probabilities` (n, m)."""
    below = np.cumsum(probabilities, axis=1)
    return (rng.random(len(below))[:, None] * below[:, -1:] >= below).sum(axis=1)


def free_touchpoints(rng: np.random.Generator, stage: np.ndarray, physical: np.ndarray):
    """Draw a touchpoint of the stage and medium, by weight."""
    codes = np.empty(len(stage), dtype=np.int8)
    for s in range(len(STAGES)):
        for medium, side in (("online", False), ("physical", True)):
            here = np.flatnonzero((stage == s) & (physical == side))
            names = [n for n, t in TOUCHPOINTS.items() if t[0] == s and t[2] == medium and t[3]]
            weights = np.array([TOUCHPOINTS[n][3] for n in names], dtype=float)
            choice = rng.choice(len(names), size=len(here), p=weights / weights.sum())
            codes[here] = np.array([CODE[n] for n in names], dtype=np.int8)[choice]
    return codes


def visit(rng, behaviour: Behaviour, kind, stage, started, hurt) -> Visit:
    """Draw what happens in one visit per customer; all arguments are arrays of length n."""
    n = len(kind)
    channel = pick(rng, behaviour.channels[kind]).astype(np.int8)
    physical = channel == STORE
    codes = np.full((n, SLOTS), -1, dtype=np.int8)
    for slot, probability in enumerate(FURTHER):
        drawn = free_touchpoints(rng, stage, physical)
        codes[:, slot] = np.where(rng.random(n) < probability, drawn, -1)
    codes[stage == PURCHASE, 1:FREE] = -1  # one order a purchase visit

    newsletter = (stage == AWARENESS) & (rng.random(n) < NEWSLETTER_RATE)
    codes[newsletter, FREE] = CODE["newsletter_open"]

    deciding = stage == DECISION
    changed = (channel == MOBILE) & (started >= CHANGED)
    error = deciding & (rng.random(n) < np.where(changed, behaviour.error_after, ERROR_RATE))
    straight = deciding & (rng.random(n) < 0.7)  # to the checkout, without a cart before it
    codes[straight, 0] = CODE["checkout"]
    codes[deciding & ~straight, FREE] = CODE["checkout"]
    codes[straight, 1:FREE] = -1
    codes[error, FREE + 1] = CODE["payment_error"]

    after = stage == POST_SALE
    late = after & (rng.random(n) < LATE_RATE)
    asked = after & (rng.random(n) < np.where(late, SUPPORT_AFTER_LATE, SUPPORT_OTHERWISE))
    resolved = asked & (rng.random(n) < RESOLVED_RATE)
    # the delivery comes first, the free touchpoint (a review, a guide, a return) last
    codes[after, SLOTS - 1] = codes[after, 1]
    codes[after, :FREE] = -1
    codes[after, 0] = np.where(late, CODE["delivery_late"], CODE["delivery_on_time"])[after]
    codes[asked, FREE] = CODE["support_request"]
    codes[resolved, FREE + 1] = CODE["support_resolved"]

    fresh = np.where(late, np.where(resolved, 1 - RESTORED, 1.0), 0.0)
    hurt = np.where(after, fresh, hurt)
    strain = np.ones(n)
    strain[error] = behaviour.error_drop_off
    strain[after] += (behaviour.late_drop_off - 1) * hurt[after]

    gaps = rng.exponential(size=(n, SLOTS), scale=HOURS * 3600.0)
    gaps = np.where(codes >= 0, np.clip(gaps, 60, 9 * DAY), 0)
    gaps[:, 0] = 0
    times = started[:, None] + np.cumsum(gaps.astype(np.int64), axis=1)
    return Visit(codes, times, times[:, -1], channel, error, strain, hurt)


def onward(rng, behaviour: Behaviour, kind, stage, ended, strain, hurt):
    """Draw the next stage (LOST: the journey ends), the next visit's stage and its start.

    Inside a journey the gap stays under the inactivity, between journeys above it; who leaves
    for good has a start beyond every horizon.
    """
    n = len(kind)
    row = strained(behaviour.rows[kind, stage], strain)
    next_stage = pick(rng, row).astype(np.int8)
    lost = next_stage == LOST

    longest = INACTIVITY - DAY
    mean = GAP_DAYS[stage] * behaviour.pace[kind] * DAY / longest
    gap = np.maximum(longest * rng.beta(2.0, 2.0 * (1 / mean - 1)), 600)
    back = RETURN_DAYS * behaviour.pace[kind] * DAY * rng.gamma(2.0, 0.5, size=n)
    gone = rng.random(n) < behaviour.leave[kind] * (1 + (behaviour.late_leave - 1) * hurt)
    wait = np.where(lost, INACTIVITY + DAY + back, gap)
    start = ended + np.where(lost & gone, np.int64(100 * END), wait.astype(np.int64))
    first = pick(rng, behaviour.starts[kind]).astype(np.int8)
    return next_stage, np.where(lost, first, next_stage), start
