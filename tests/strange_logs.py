"""Logs of kinds that a newcomer brings, made in code; what they hold, counted in pandas."""

from pathlib import Path

import numpy as np
import pandas as pd


def process_log(seed: int = 1, cases: int = 60) -> pd.DataFrame:
    """Steps of applications as process mining exports them, begun and completed."""
    rng = np.random.default_rng(seed)
    rows = []
    for case in range(cases):
        time = pd.Timestamp("2023-01-02 09:00", tz="Europe/Madrid") + pd.Timedelta(case, "D")
        steps = ["A_SUBMITTED", "W_Call", "O_SENT", ["A_APPROVED", "A_DECLINED"][case % 3 == 0]]
        for step in steps:
            for transition in ("START", "COMPLETE") if step.startswith("W_") else ("COMPLETE",):
                time += pd.Timedelta(int(rng.integers(60, 5_000)), "min")
                rows.append((case + 1, step, time.isoformat(), f"{112 + case % 7}", transition))
    names = [
        "case:concept:name", "concept:name", "time:timestamp", "org:resource",
        "lifecycle:transition",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=names)


def tickets(seed: int = 5, number: int = 400) -> pd.DataFrame:
    """Support tickets of customers, which overlap; a third are closed, some worked on after."""
    rng = np.random.default_rng(seed)
    rows = []
    for ticket in range(number):
        time = pd.Timestamp("2023-03-01 08:00") + pd.Timedelta(int(rng.integers(0, 9_000)), "h")
        steps = ["ticket_opened", "support_call"]
        steps += [["ticket_closed", "offer_sent", "order_placed"][ticket % 3]]
        steps += ["support_call"] * (ticket % 6 == 0)  # after it was closed
        for step in steps:
            time += pd.Timedelta(int(rng.integers(1, 400)), "h")
            rows.append((f"T{ticket:04d}", f"K{rng.integers(0, 80):03d}", step, time))
    frame = pd.DataFrame(rows, columns=["ticket_id", "customer_no", "activity", "created_at"])
    frame["customer_no"] = frame.groupby("ticket_id")["customer_no"].transform("first")
    return frame.sort_values("created_at", ignore_index=True)


def order_lines(seed: int = 2, orders: int = 300) -> pd.DataFrame:
    """Lines of a shop's invoices, cancellations (C…) with negative quantities among them."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(orders):
        customer = 100 + number % 47
        time = pd.Timestamp("2023-01-01 10:00") + pd.Timedelta(31 * number, "h")
        cancelled = number % 9 == 0
        for line in range(1 + number % 4):
            quantity = int(rng.integers(1, 9)) * (-1 if cancelled else 1)
            price = round(float(rng.uniform(0.5, 20)), 2)
            invoice = f"{'C' if cancelled else ''}{500 + number}"
            rows.append((invoice, f"P{line}", quantity, price, time, customer))
        if number % 4 == 3 and not cancelled:  # a discount is no refund
            rows.append((invoice, "DISCOUNT", -1, 0.1, time, customer))
    rows += rows[5:8]  # a second piece, scanned again
    names = ["InvoiceNo", "StockCode", "Quantity", "UnitPrice", "InvoiceDate", "CustomerID"]
    return pd.DataFrame(rows, columns=names)


def dates_only(seed: int = 3) -> pd.DataFrame:
    """Days on which households bought at a grocery, and nothing else."""
    rng = np.random.default_rng(seed)
    days = pd.date_range("2022-01-01", periods=400).strftime("%d.%m.%Y")
    return pd.DataFrame(
        {"household": rng.integers(1, 40, 900), "day": rng.choice(days, 900)}
    ).drop_duplicates()


def leads(seed: int = 4, number: int = 200) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Leads of a marketing funnel, and the deals won with some of them."""
    rng = np.random.default_rng(seed)
    first = pd.Timestamp("2023-01-01") + pd.to_timedelta(rng.integers(0, 300, number), "D")
    origins = ["organic_search", "paid_search", "social", "email"]
    found = pd.DataFrame(
        {
            "mql_id": [f"m{n:05d}" for n in range(number)],
            "first_contact_date": first.strftime("%Y-%m-%d"),
            "landing_page_id": [f"page{n % 13}" for n in range(number)],
            "origin": rng.choice(origins, number),
        }
    )
    won = found.iloc[::4]
    later = pd.to_datetime(won["first_contact_date"]) + pd.Timedelta(20, "D")
    deals = pd.DataFrame(
        {
            "mql_id": won["mql_id"],
            "seller_id": [f"s{n}" for n in range(len(won))],
            "won_date": later.dt.strftime("%Y-%m-%d %H:%M:%S"),
        }
    )
    return found, deals


def marketplace(folder: Path) -> dict[str, pd.DataFrame]:
    """Write customers, orders, payments and reviews as CSV; return them."""
    number = 120
    placed = pd.Timestamp("2023-01-01") + pd.to_timedelta(np.arange(number) * 2, "D")
    customers = pd.DataFrame(
        {
            "customer_id": [f"c{n}" for n in range(number)],
            "customer_unique_id": [f"u{n % 70}" for n in range(number)],
        }
    )
    orders = pd.DataFrame(
        {
            "order_id": [f"o{n}" for n in range(number)],
            "customer_id": customers["customer_id"],
            "order_placed_at": placed.astype(str),
            "order_delivered_at": (placed + pd.Timedelta(3, "D")).astype(str),
            "order_estimated_delivery_date": (placed + pd.Timedelta(9, "D")).astype(str),
        }
    )
    orders.loc[::10, "order_delivered_at"] = ""
    payments = pd.DataFrame(
        {
            "order_id": [f"o{n}" for n in range(number) for _ in range(1 + n % 2)],
            "payment_value": [10.5 + n for n in range(number) for _ in range(1 + n % 2)],
        }
    )
    reviews = pd.DataFrame(
        {
            "order_id": orders["order_id"][::3],
            "review_score": [1 + n % 5 for n in range(0, number, 3)],
            "review_written_at": (placed[::3] + pd.Timedelta(6, "D")).astype(str),
        }
    )
    tables = {"customers": customers, "orders": orders, "payments": payments, "reviews": reviews}
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    return tables
