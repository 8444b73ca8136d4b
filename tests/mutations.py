"""Files as they come in the worst case: a sound log and what may befall it, by seed."""

import gzip
import random
import re

HEADER = "user,at,event,channel,amount,score,id"
DATASET = """
name: bad
source: log.csv
columns:
  customer_id: user
  timestamp: {column: at, timezone: Europe/Madrid}
  touchpoint: event
  channel: channel
  value: amount
  sentiment: {column: score, scale: [1, 5]}
  event_id: id
touchpoints:
  view: {stage: awareness}
  cart: {stage: decision}
  buy: {stage: purchase}
journey: {inactivity: 30 days, purchase: buy}
quality: {max_quarantined: 100%, earliest: 2015-01-01}
"""
ODD_FIELDS = [
    *("", " ", "NULL", "nan", "inf", "1e400", "9" * 400, "-1e-400", "0x1F", "1_0", "1,5", "٣", "½"),
    *("0000-00-00", "9999-12-31 23:59:59", "10000-01-01", "-0044-03-15", "2024-02-30", "1e18"),
    *("2024-03-31 02:30", "2024-05-01T10:00:00.123456789Z", "2024-05-01T10:00+99:99", "24:00"),
    *("=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "<script>alert(1)</script>", "<b>", "&amp;"),
    *(
        "'; DROP TABLE raw; --",
        "{{x}}",
        "%s%n",
        "../../etc/passwd",
        "\\",
        "\\N",
        "\u202e",
        "\ufeff",
    ),
    *("\ufeff", "👩‍👩‍👧", "e\u0301", "\x1f", "\x1e", "\x0b", "\u2028", "\x85", "_row", "a" * 5_000),
]


def sound_rows(rng: random.Random) -> list[list[str]]:
    """Return the rows of a log without any fault."""
    return [
        [
            f"u{rng.randint(1, 6)}",
            f"2024-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d} {rng.randint(0, 23):02d}:00",
            rng.choice(["view", "cart", "buy"]),
            rng.choice(["web", "café", ""]),
            rng.choice(["", "12.5", "3"]),
            rng.choice(["", "1", "5"]),
            f"e{place}",
        ]
        for place in range(rng.randint(1, 25))
    ]


def _in_rows(rng: random.Random, rows: list[list[str]]) -> list[list[str]]:
    row = rng.choice(rows)
    kind = rng.randrange(9)
    if kind == 0 and row:
        del row[rng.randrange(len(row)) :]
    elif kind == 1:
        row.insert(rng.randint(0, len(row)), rng.choice(ODD_FIELDS))
    elif kind == 2:
        rng.shuffle(rows)
    elif kind == 3:
        rows += [list(rng.choice(rows)) for _ in range(rng.randint(1, 9))]
    elif kind == 4:
        rows.insert(
            rng.randint(0, len(rows)), rng.choice([[""], [" "], [""] * 7, HEADER.split(",")])
        )
    elif kind == 5 and row:
        row[rng.randrange(len(row))] = rng.choice(
            ['"', '"a\nb"', '"a""b"', '"a"b', 'a"b', '"a\r\n']
        )
    elif kind == 6 and row and rng.random() < 0.1:
        row[rng.randrange(len(row))] = "x" * rng.randint(131_000, 300_000)
    elif row:
        row[rng.randrange(len(row))] = rng.choice(ODD_FIELDS)
    return rows


def _in_header(rng: random.Random, header: str) -> str:
    names = header.split(",")
    place = rng.randrange(len(names))
    names[place] = rng.choice(
        ["", names[0], names[0].upper(), "_row", '"', " " + names[place], "x"]
    )
    return rng.choice([",".join(names), "", header + ",", header + ",more", header.upper(), '"x'])


def _in_bytes(rng: random.Random, data: bytes) -> bytes:
    kind = rng.randrange(11)
    at = rng.randint(0, len(data))
    if kind == 0:
        changed = bytearray(data)
        for _ in range(rng.randint(1, 20)):
            changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        return bytes(changed)
    if kind == 1:
        return data[:at]
    if kind == 2:
        return data[:at] + rng.randbytes(rng.randint(1, 40)) + data[at:]
    if kind == 3:
        return data[:at] + data[at + rng.randint(1, 40) :]
    if kind == 4:
        return data.replace(b"\n", rng.choice([b"\r\n", b"\r", b"\n\n", b"\n\r", b"\r\r\n"]))
    if kind == 5:
        return data[:at] + data[at:].replace(b"\n", b"\r\n")
    if kind == 6:
        return data[:at] + b"\0" * rng.randint(1, 9) + data[at:]
    if kind == 7:
        return data[:at] + data[at:].decode("utf-8", "replace").encode("latin-1", "replace")
    if kind == 8:
        text = data.decode("utf-8", "replace")
        return text.encode(
            rng.choice(["utf-8-sig", "utf-16", "utf-16-le", "cp1252", "utf-32"]), "replace"
        )
    if kind == 9:
        return data.replace(b",", rng.choice([b";", b"\t", b"|"]))
    return (
        data[:at] + rng.choice([b"\xef\xbb\xbf", b"\xff\xfe", b"\x1a", b"\xed\xa0\x80"]) + data[at:]
    )


def mutated(seed: int) -> tuple[bytes, bool]:
    """Return the content of a file, and whether it is to be packed by gzip (and perhaps torn)."""
    rng = random.Random(seed)
    if rng.random() < 0.02:
        whole = [b"", b"\n", b"\r\n\r\n", HEADER.encode(), HEADER.encode() + b"\n", b"\0" * 50]
        return rng.choice([*whole, rng.randbytes(500), b'"', b"\xff\xfe", b"\xef\xbb\xbf"]), False
    header, rows = HEADER, sound_rows(rng)
    for _ in range(rng.choice([0, 1, 1, 2, 5])):
        rows = _in_rows(rng, rows)
    if rng.random() < 0.08:
        header = _in_header(rng, header)
    data = "\n".join([header, *(",".join(row) for row in rows)]).encode("utf-8", "replace")
    data += rng.choice([b"", b"\n", b"\n\n"])
    for _ in range(rng.choice([0, 0, 1, 1, 3])):
        data = _in_bytes(rng, data) if data else data
    return data, rng.random() < 0.1


def packed(data: bytes, seed: int) -> bytes:
    """Return content packed by gzip, one time in two torn or damaged."""
    rng = random.Random(seed)
    whole = gzip.compress(data, mtime=0)
    at = rng.randrange(len(whole))
    damaged = [whole[:at], whole[:at] + b"\xff" + whole[at + 1 :], data]
    return rng.choice([whole, whole, whole, *damaged])


def count_records(data: bytes, width: int) -> int:
    """Count the records after the header line, by a reader of its own.

    Every line that is not blank is one, but for the lines within a quoted field of a record that
    is sound as a whole.
    """
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = data.decode("utf-16", "surrogatepass")
    else:  # delimiters, quotes and line ends are the same bytes in every other encoding
        text = data.removeprefix(b"\xef\xbb\xbf").decode("latin-1")
    lines = re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$", text)[1:]
    count = place = 0
    while place < len(lines):
        if not lines[place].strip("\r\n"):
            place += 1
            continue
        count += 1
        place += _lines_of_record(lines[place:], width)
    return count


_FIELD = r'(?:"(?:[^"]|"")*"|[^",\r\n][^,\r\n]*|)'


def _lines_of_record(lines: list[str], width: int) -> int:
    if '"' not in lines[0]:
        return 1
    record = re.match(rf"{_FIELD}(?:,{_FIELD}){{{width - 1}}}(\r\n|\r|\n|\Z)", "".join(lines))
    if record is None or any(len(field) > 131_000 for field in record[0].split('"')):
        return 1
    return max(1, len(re.findall(r"\r\n|\r|\n", record[0])) + (record[1] == ""))
