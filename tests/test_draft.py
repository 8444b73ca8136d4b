import gzip
from pathlib import Path

import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings, strategies as st

from cjlib.dataset import load_dataset
from cjlib.drafts.columns import Content
from cjlib.drafts.draft import draft_dataset, flow, quoted, unsure
from cjlib.drafts.layout import find_layout
from cjlib.drafts.names import columns_by_name, match, plain, purchases_among, words
from cjlib.errors import CjlibError, ContractError, ParameterError
from cjlib.log import open_log
from cjlib.stages import load_stage_model

SPANISH = """\
id_cliente;fecha_hora;evento;canal;importe;valoración
{rows}"""
CATALAN_EVENTS = ["cerca", "veure_producte", "afegir_cistella", "comanda", "lliurament", "queixa"]
SPANISH_EVENTS = ["anuncio", "búsqueda", "carrito", "compra", "entrega", "devolución"]


def spanish_rows(customers=12, events=SPANISH_EVENTS):
    return "".join(
        f"{customer:03d};{1 + 2 * place + visit * 14:02d}/{1 + customer % 3:02d}/2024 "
        f"10:{customer:02d};{event};{['web', 'tienda'][customer % 2]};"
        f"{'1.234,50' if event == 'compra' else ''};{1 + (customer + place) % 5}\n"
        for customer in range(customers)
        for visit in range(2)
        for place, event in enumerate(events)
    )


@pytest.fixture
def draft(tmp_path):
    """Draft the dataset file of a log given as text or bytes; return it loaded and as text."""

    def write(content, name="log.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        target = tmp_path / f"{path.name.split('.')[0]}.yml"
        drafted = draft_dataset(path, target)
        target.write_text(drafted, encoding="utf-8")
        return load_dataset(target), drafted

    return write


def check_of(drafted, start):
    """Return what a draft's line says to check; None where it is sure."""
    line = next(line for line in drafted.splitlines() if line.strip().startswith(start))
    return line.partition("# CHECK: ")[2] or None


# -- whole drafts -------------------------------------------------------------------------------


def test_spanish_log_is_understood(draft):
    dataset, drafted = draft(SPANISH.format(rows=spanish_rows()), "tienda_online.csv")
    assert dataset.name == "tienda_online"
    assert dataset.delimiter == ";"
    columns = dataset.columns
    assert columns.customer_id == "id_cliente"
    assert columns.timestamp.column == "fecha_hora"
    assert columns.timestamp.format == ["%d/%m/%Y %H:%M"]
    assert columns.touchpoint.column == "evento"
    assert columns.channel == "canal"
    assert (columns.value.column, columns.value.decimal) == ("importe", ",")
    assert columns.sentiment.column == "valoración"
    assert columns.sentiment.scale == (1, 5)
    assert {name: touchpoint.stage for name, touchpoint in dataset.touchpoints.items()} == {
        "anuncio": "awareness",
        "búsqueda": "consideration",
        "carrito": "decision",
        "compra": "purchase",
        "entrega": "post_sale",
        "devolución": "post_sale",
    }
    assert dataset.journey.purchase == ["compra"]
    assert drafted.count("; 24 events") == 6
    assert "zone" in check_of(drafted, "timestamp:")


def test_catalan_log_is_understood(draft):
    rows = spanish_rows(events=CATALAN_EVENTS).replace("1.234,50", "12,50")
    header = "id_client;data_hora;esdeveniment;canal;import;valoració\n"
    dataset, _ = draft(header + rows)
    columns = dataset.columns
    assert columns.customer_id == "id_client"
    assert columns.timestamp.column == "data_hora"
    assert columns.touchpoint.column == "esdeveniment"
    assert columns.sentiment.column == "valoració"
    stages = [dataset.touchpoints[name].stage for name in CATALAN_EVENTS]
    assert stages == [
        "consideration", "consideration", "decision", "purchase", "post_sale", "post_sale",
    ]  # fmt: skip


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-8-sig"])
def test_other_encodings_are_found(draft, encoding):
    dataset, drafted = draft(SPANISH.format(rows=spanish_rows()).encode(encoding))
    assert dataset.columns.sentiment.column == "valoración"
    assert "búsqueda" in dataset.touchpoints
    assert ("encoding" in drafted) == (encoding != "utf-8-sig")


def test_bytes_damaged_here_and_there_do_not_change_the_encoding(draft):
    text = SPANISH.format(rows=spanish_rows()).encode() + b"\xff\xfe;\x81\n" * 3
    dataset, _ = draft(text)
    assert dataset.encoding == "utf-8"


def test_draft_passes_the_check_as_it_is(draft, tmp_path):
    rows = spanish_rows().replace("000;", ";").replace("004;03", "004;99")
    _, drafted = draft(SPANISH.format(rows=rows))
    assert "missing_customer_id" in check_of(drafted, "max_quarantined")
    log = open_log(tmp_path / "log.yml")
    assert log.rows["kept"] > 0
    assert sum(log.rows[part] for part in ("kept", "quarantined", "duplicates")) == log.rows["read"]


def test_orders_alone_become_purchases(draft):
    rows = "".join(f"{c:04d},{2020 + c % 3}-01-{1 + c % 28:02d},{c}.50\n" for c in range(90))
    dataset, drafted = draft("customer_id,order_date,order_total_eur\n" + rows)
    assert dataset.columns.touchpoint.value == "purchase"
    assert dataset.journey.purchase == ["purchase"]
    assert dataset.columns.value.column == "order_total_eur"
    assert dataset.currency == "EUR"
    assert "every row a purchase" in check_of(drafted, "touchpoint:")


@pytest.mark.parametrize(
    ("days", "expected", "unsure"),
    [
        (range(1, 29), "%d/%m/%Y", False),
        (range(1, 13), "%d/%m/%Y", True),
    ],
)
def test_day_before_month_is_found_or_asked_for(draft, days, expected, unsure):
    rows = "".join(
        f"c{day % 5},{day:02d}/{month:02d}/2024\n" for month in (1, 2, 3) for day in days
    )
    dataset, drafted = draft("client,date\n" + rows)
    assert dataset.columns.timestamp.format == [expected]
    assert ("day or month first" in check_of(drafted, "timestamp:")) == unsure


def test_times_with_offsets_need_no_zone(draft):
    rows = "".join(f"c{n % 5},2024-05-{n:02d}T10:00:00+02:00,view\n" for n in range(1, 29))
    dataset, drafted = draft("user,time,event\n" + rows)
    assert dataset.columns.timestamp.timezone is None
    assert check_of(drafted, "timestamp:") is None


def test_first_line_of_data_is_no_header(draft):
    rows = "".join(f"{n % 7:05d} 202401{n:02d} {n}.25\n" for n in range(1, 29))
    dataset, drafted = draft(rows, "orders.txt")
    assert dataset.delimiter == "whitespace"
    assert dataset.header == ["column_1", "column_2", "column_3"]
    assert dataset.columns.customer_id == "column_1"
    assert dataset.columns.timestamp.column == "column_2"
    assert "first line is data" in check_of(drafted, "header:")


def test_times_far_from_the_rest_are_set_apart(draft):
    rows = "".join(f"c{n % 9},2023-{1 + n % 12:02d}-01 10:00:00,view\n" for n in range(600))
    odd = "c1,1970-01-01 00:00:00,view\nc2,2020-12-31 10:00:00,view\nc3,2026-01-05 09:00:00,view\n"
    dataset, drafted = draft("user,time,event\n" + odd + rows)
    assert str(dataset.quality.earliest) == "2023-01-01 00:00:00"
    assert str(dataset.as_of) == "2023-12-01 10:00:00"
    assert "mistakes" in check_of(drafted, "earliest:")


def test_labels_of_feeling_are_read(draft):
    labels = ["positivo", "neutro", "negativo", "raro"]
    rows = "".join(f"c{n % 5},2024-05-{n:02d},compra,{labels[n % 4]}\n" for n in range(1, 29))
    dataset, drafted = draft("usuario,fecha,evento,sentimiento\n" + rows)
    expected = {"positivo": 1, "neutro": 0, "negativo": -1, "raro": 0}
    assert dataset.columns.sentiment.labels == expected
    assert "raro" in check_of(drafted, "sentiment:")


def test_ids_that_look_like_numbers_stay_text_and_mail_addresses_are_pointed_at(draft):
    rows = "".join(f"a{n % 5}@example.com,2024-05-{n:02d},purchase\n" for n in range(1, 29))
    _, drafted = draft("email,date,event\n" + rows)
    assert "e-mail" in check_of(drafted, "customer_id:")


def test_event_ids_are_taken_only_when_they_tell_events_apart(draft):
    rows = "".join(f"{n // 9},{n},c{n % 5},2024-05-{n:02d},purchase\n" for n in range(1, 29))
    dataset, _ = draft("transaction_id,event_id,user_id,date,event\n" + rows)
    assert dataset.columns.event_id == "event_id"
    dataset, _ = draft("transaction_id,n,user_id,date,event\n" + rows)
    assert dataset.columns.event_id is None


def test_parquet_log_is_drafted(tmp_path):
    frame = pd.DataFrame(
        {
            "user_id": [f"{n % 40:04d}" for n in range(400)],
            "happened_at": pd.date_range("2024-01-01", periods=400, freq="11h"),
            "action": ["view", "cart", "purchase", "support"] * 100,
            "amount": [0.0, 0.0, 12.5, 0.0] * 100,
        }
    )
    frame.to_parquet(tmp_path / "log.parquet")
    drafted = draft_dataset(tmp_path / "log.parquet", tmp_path / "own.yml")
    (tmp_path / "own.yml").write_text(drafted)
    dataset = load_dataset(tmp_path / "own.yml")
    assert dataset.columns.timestamp.column == "happened_at"
    assert dataset.columns.value.column == "amount"
    assert open_log(tmp_path / "own.yml").rows["kept"] == 400


def test_source_is_relative_to_where_the_dataset_file_goes(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "data").mkdir()
    path = tmp_path / "logs" / "my log.csv.gz"
    path.write_bytes(gzip.compress(SPANISH.format(rows=spanish_rows()).encode()))
    target = tmp_path / "data" / "Mi tienda.yml"
    drafted = draft_dataset(path, target)
    content = yaml.safe_load(drafted)
    assert content["source"] == "../logs/my log.csv.gz"
    assert content["name"] == "mi_tienda"
    target.write_text(drafted, encoding="utf-8")
    assert open_log(target).rows["kept"] == 144


def test_same_log_gives_the_same_draft(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(SPANISH.format(rows=spanish_rows()), encoding="utf-8")
    target = tmp_path / "log.yml"
    assert draft_dataset(path, target) == draft_dataset(path, target)


def test_what_is_unsure_names_its_line(draft):
    _, drafted = draft(SPANISH.format(rows=spanish_rows()))
    lines = drafted.splitlines()
    assert len(unsure(drafted)) == drafted.count("# CHECK: ") > 0
    for line in unsure(drafted):
        number = int(line.split(":")[0].removeprefix("line "))
        assert "# CHECK: " in lines[number - 1]


def test_pace_follows_the_log(draft):
    days = pd.date_range("2022-01-01", periods=40, freq="20D").strftime("%Y-%m-%d")
    rows = "".join(
        f"c{customer},{day},{event}\n"
        for customer in range(9)
        for day in days
        for event in ("view", "purchase")
    )
    dataset, drafted = draft("user_id,date,event\n" + rows)
    assert dataset.journey.inactivity.days == 21  # every gap is of 20 days
    assert dataset.churn.horizon.days == 45  # twice 20, made round
    assert "within 20 days" in check_of(drafted, "inactivity:")


# -- hostile and broken logs --------------------------------------------------------------------

NASTY = [
    '=HYPERLINK("http://example.com")', "<script>alert(1)</script>", "a: b # c", "no", "null",
    "{x: [1]}", "- item", "'; DROP TABLE x; --", "*anchor", "&a", "!!python/object", "%d", "@x",
    "tab\tinside", "quote\"inside", "back\\slash", "🎉", "\u2028", "é" * 300, "007", "~", "? key",
]  # fmt: skip


def test_hostile_text_stays_text(tmp_path):
    frame = pd.DataFrame(
        {
            "user: id # [": [f"c{n % 9}" for n in range(440)],
            "time": [f"2024-05-{1 + n % 28:02d} 10:00:00" for n in range(440)],
            "event": NASTY * 20,
        }
    )
    frame.to_csv(tmp_path / "log.csv", index=False)
    drafted = draft_dataset(tmp_path / "log.csv", tmp_path / "x: y\n- z.yml")
    (tmp_path / "own.yml").write_text(drafted, encoding="utf-8")
    dataset = load_dataset(tmp_path / "own.yml")
    assert dataset.columns.customer_id == "user: id # ["
    assert set(dataset.touchpoints) <= set(NASTY)
    assert "no" in dataset.touchpoints
    assert not any("<script>" in name or name.startswith("=") for name in dataset.touchpoints)
    assert open_log(tmp_path / "own.yml").rows["kept"] > 200


def test_a_log_of_formulas_alone_is_refused(draft):
    rows = "".join(f"c{n % 9},2024-05-{n:02d},=1+1\n" for n in range(1, 29))
    with pytest.raises(ContractError, match="no row names"):
        draft("user,time,event\n" + rows)


@pytest.mark.parametrize("text", [*NASTY, "", " ", "plain_name", "\x00", "\x7f", "a\nb", "y"])
def test_any_text_is_one_scalar_on_one_line(text):
    line = quoted(text)
    assert "\n" not in line
    assert yaml.safe_load(f"{line}  # comment") == text
    assert yaml.safe_load(flow({"k": [text, 1.5], "l": {"m": text}})) == {
        "k": [text, 1.5],
        "l": {"m": text},
    }


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("gone.csv", None, ParameterError, "is not there"),
        ("log.xlsb", b"PK\x03\x04", ParameterError, "ending"),
        ("log.csv", b"PK\x03\x04 not a table", ParameterError, "workbook"),
        ("log.csv", gzip.compress(b"a,b\n1,2\n", mtime=0), ParameterError, "rename"),
        ("log.csv", b"", ContractError, "is empty"),
        ("log.csv", b"\n \r\n\n", ContractError, "is empty"),
        ("log.csv.gz", gzip.compress(b"", mtime=0), ContractError, "is empty"),
        ("log.csv", b"customer_id,timestamp,event\n", ContractError, "no events"),
        ("log.csv", b"a\n1\n2\n", ContractError, "no column holds times in a known form"),
        ("log.csv", b"a,b\nx,y\nz,w\n", ContractError, "no column holds times in a known form"),
        ("log.csv", b"date\n2024-01-01\n2024-01-02\n", ContractError, "one column only"),
        ("log.csv", b"user,user,date\n1,2,2024-01-01\n", ContractError, "twice"),
        ("log.csv", b"\x00\x01\x02\x03" * 99, ParameterError, "no text"),
        ("log.csv.gz", b"no gzip at all", ContractError, "damaged"),
        ("log.csv.gz", gzip.compress(b"a,b\n1,2\n" * 999, mtime=0)[:-20], ContractError, "damaged"),
        ("log.parquet", b"no parquet at all", ContractError, "damaged"),
    ],
)
def test_what_is_no_log_is_refused_with_place_and_remedy(tmp_path, name, content, error, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error, match=message) as caught:
        draft_dataset(path, tmp_path / "own.yml")
    assert name in str(caught.value)


def test_folder_and_empty_parquet_are_refused(tmp_path):
    with pytest.raises(ParameterError, match="is a folder"):
        draft_dataset(tmp_path, tmp_path / "own.yml")
    pd.DataFrame({"user": [], "date": []}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(ContractError, match="no rows"):
        draft_dataset(tmp_path / "x.parquet", tmp_path / "own.yml")


@pytest.mark.slow
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_mutated_logs_end_in_a_loadable_draft_or_a_clear_error(tmp_path, data):
    content = bytearray(SPANISH.format(rows=spanish_rows(5)).encode())
    for _ in range(data.draw(st.integers(1, 12))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=12))
    path = tmp_path / "log.csv"
    path.write_bytes(bytes(content))
    try:
        drafted = draft_dataset(path, tmp_path / "own.yml")
    except CjlibError:
        return
    (tmp_path / "own.yml").write_text(drafted, encoding="utf-8")
    load_dataset(tmp_path / "own.yml")


# -- guesses one by one -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("meaning", "names", "best"),
    [
        ("customer_id", ["user_cohort", "CustomerID", "customer_city"], "CustomerID"),
        ("customer_id", ["Id Cliente", "nombre"], "Id Cliente"),
        ("timestamp", ["update", "InvoiceDate"], "InvoiceDate"),
        ("timestamp", ["base_data", "data_comanda"], "data_comanda"),
        ("touchpoint", ["event_date", "event"], "event"),
        ("channel", ["platform", "acquisition_channel"], "acquisition_channel"),
        ("value", ["importe_total", "valoracion"], "importe_total"),
        ("sentiment", ["review_score", "value"], "review_score"),
        ("customer_id", ["country", "age"], None),
    ],
)
def test_column_is_found_by_its_name(meaning, names, best):
    assert [*columns_by_name(meaning, names), None][0] == best


@pytest.mark.parametrize(
    ("touchpoint", "stage"),
    [
        ("newsletter_open", "awareness"),
        ("Vista de producto", "consideration"),
        ("AddToCart", "decision"),
        ("payment_error", "decision"),
        ("Order placed", "purchase"),
        ("pedido realizado", "purchase"),
        ("comanda feta", "purchase"),
        ("order_cancelled", "post_sale"),
        ("delivery_late", "post_sale"),
        ("product_return", "post_sale"),
        ("devolució", "post_sale"),
        ("xyzzy", None),
    ],
)
def test_touchpoint_gets_a_stage_by_its_words(touchpoint, stage):
    assert match(touchpoint, words()["stages"]) == stage


def test_word_lists_name_stages_that_exist_and_plain_words_only():
    lists = words()
    model = load_stage_model(lists["stage_model"])
    assert list(lists["stages"]) == model.names
    assert lists["unknown"] in model.names
    groups = [*lists["stages"].values(), *lists["initiator"].values(), *lists["medium"].values()]
    groups += [lists["beside_purchase"], *lists["feelings"].values()]
    for word in [word for group in groups for word in group]:
        assert plain(word) == word.rstrip("*"), word


def test_purchase_is_not_counted_twice():
    assert purchases_among(["order_placed", "invoice", "payment_confirmed"]) == ["order_placed"]
    assert purchases_among(["purchase_web", "store_purchase"]) == ["purchase_web", "store_purchase"]
    assert purchases_among(["invoice"]) == ["invoice"]
    assert purchases_among([]) == []


def test_longer_word_decides():
    lists = {"a": ["review*"], "b": ["review_page"]}
    assert match("review_page", lists) == "b"
    assert match("review_written", lists) == "a"
    assert match("preview", lists) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["2024-05-01", "2024-05-02 10:00"], [""]),
        (["13/05/2024", "21/02/2024"], ["%d/%m/%Y"]),
        (["05/13/2024 8:05", "02/21/2024 18:05"], ["%m/%d/%Y %H:%M"]),
        (["19970101", "19971231"], ["%Y%m%d"]),
        (["1700000000", "1700000999"], ["epoch_s"]),
        (["1700000000000", "1700000999000"], ["epoch_ms"]),
        (["2024-05-01 10:00:00 UTC", "2024-06-01 10:00:00 UTC"], ["%Y-%m-%d %H:%M:%S UTC"]),
        (["3 May 2024", "14 Jun 2024"], ["%d %b %Y"]),
        (["5", "12"], []),
        (["3052", "9190"], []),
        ([], []),
    ],
)
def test_time_formats_are_told_by_their_values(values, expected):
    assert Content(values).formats == expected


def test_mixed_times_are_covered_by_several_formats(draft):
    values = ["13/05/2024"] * 5 + ["2024-05-13"] * 5
    assert set(Content(values).formats) == {"%d/%m/%Y", "%Y-%m-%d"}
    rows = "".join(f"c{n},{value},view\n" for n, value in enumerate(values))
    dataset, drafted = draft("user,time,event\n" + rows)
    assert set(dataset.columns.timestamp.format) == {"%d/%m/%Y", "%Y-%m-%d"}
    assert "several forms of time" in check_of(drafted, "timestamp:")
    assert Content(["red", "blue"]).formats == []


@pytest.mark.parametrize(
    ("values", "mark"),
    [(["1", "2.5", "-3"], "."), (["1.234,50", "3,1"], ","), (["1", "x"], None), ([], None)],
)
def test_decimal_mark_is_told_by_the_numbers(values, mark):
    assert Content(values).decimal == mark


@pytest.mark.parametrize(
    ("numbers", "scale", "plainly"),
    [
        ([1, 2, 3, 4, 5], (1, 5), True),
        ([2, 3, 4], (1, 5), False),
        ([0, 7, 10], (0, 10), True),
        ([-0.4, 0.2, 1], (-1, 1), False),
        ([0.1, 0.9], (0, 1), False),
        ([*[1, 5] * 100, 999], (1, 5), True),
        ([120, 340], (120, 340), False),
    ],
)
def test_scale_is_told_by_the_numbers(numbers, scale, plainly):
    assert Content([str(number) for number in numbers]).scale == (scale, plainly)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiter_is_told_by_the_rows(tmp_path, delimiter):
    path = tmp_path / "log.csv"
    rows = [["user", "note", "date"], ["1", "a b; c, d", "2024-01-01"], ["2", "e", "2024-01-02"]]
    path.write_text("\n".join(delimiter.join(f'"{cell}"' for cell in row) for row in rows))
    assert find_layout(path).delimiter == delimiter
    assert find_layout(path).header == ("user", "note", "date")


# -- real logs ----------------------------------------------------------------------------------


def shared_draft(path: Path, tmp_path):
    drafted = draft_dataset(path, tmp_path / "own.yml")
    (tmp_path / "own.yml").write_text(drafted, encoding="utf-8")
    return load_dataset(tmp_path / "own.yml"), drafted


@pytest.mark.slow
def test_draft_of_the_demo_finds_its_columns_and_its_purchases(tmp_path):
    demo = Path(__file__).parents[1] / "data" / "demo.yml"
    truth = load_dataset(demo)
    dataset, _ = shared_draft(demo.parent / truth.source, tmp_path)
    assert dataset.columns.sources == truth.columns.sources
    assert dataset.columns.sentiment.scale == truth.columns.sentiment.scale
    assert sorted(dataset.journey.purchase) == sorted(truth.journey.purchase)
    assert set(truth.touchpoints) <= set(dataset.touchpoints)
    same = [
        dataset.touchpoints[name].stage == truth.touchpoints[name].stage
        for name in truth.touchpoints
    ]
    assert sum(same) >= 0.8 * len(same)
    assert open_log(tmp_path / "own.yml").rows["kept"] > 60_000


@pytest.mark.slow
def test_draft_of_ecom(shared_data, tmp_path):
    dataset, drafted = shared_draft(shared_data("ecom/ecom.csv.gz"), tmp_path)
    assert dataset.columns.sources == {
        "customer_id": "user_id",
        "timestamp": "timestamp",
        "touchpoint": "event",
        "channel": "acquisition_channel",
    }
    assert len(dataset.touchpoints) == 19
    assert dataset.journey.purchase == ["purchase"]
    assert "platform" in check_of(drafted, "channel:")


@pytest.mark.slow
def test_draft_of_cdnow(shared_data, tmp_path):
    dataset, _ = shared_draft(shared_data("cdnow/CDNOW_master.txt"), tmp_path)
    assert dataset.delimiter == "whitespace"
    assert dataset.columns.timestamp.format == ["%Y%m%d"]
    assert dataset.columns.value.column == "dollar_value"
    assert dataset.currency == "USD"
    assert dataset.columns.touchpoint.value == "purchase"


@pytest.mark.slow
def test_draft_of_the_cdnow_sample_asks_for_its_header(shared_data, tmp_path):
    dataset, drafted = shared_draft(shared_data("cdnow/CDNOW_sample.txt"), tmp_path)
    assert dataset.columns.customer_id in ("column_1", "column_2")
    assert dataset.columns.timestamp.column == "column_3"
    assert "first line is data" in check_of(drafted, "header:")


@pytest.mark.slow
def test_draft_of_olist_orders(shared_data, tmp_path):
    dataset, drafted = shared_draft(shared_data("olist/olist_orders_dataset.csv"), tmp_path)
    assert dataset.columns.timestamp.column == "order_purchase_timestamp"
    assert dataset.columns.timestamp.format == ["%m/%d/%Y %H:%M"]
    assert "nearly every row" in check_of(drafted, "customer_id:")


@pytest.mark.slow
def test_draft_of_online_retail(shared_data, tmp_path):
    dataset, drafted = shared_draft(shared_data("online_retail/online_retail.csv.gz"), tmp_path)
    assert dataset.columns.customer_id == "CustomerID"
    assert dataset.columns.timestamp.column == "InvoiceDate"
    assert dataset.columns.value.product == ("Quantity", "UnitPrice")
    assert dataset.columns.order_id == "InvoiceNo"
    assert dataset.columns.touchpoint.refund == "return"
    assert "considered: StockCode, Description, Country" in check_of(drafted, "touchpoint:")
    assert 0.249 < dataset.quality.max_quarantined < 0.28
    assert "missing_customer_id 135,080" in check_of(drafted, "max_quarantined")


def test_each_step_of_a_draft_is_told(tmp_path):
    path = tmp_path / "orders.csv"
    rows = [f"c{i % 9},2024-0{1 + i % 9}-03 10:00,{i}" for i in range(60)]
    path.write_text("\n".join(["customer,date,amount", *rows]))
    told = []
    draft_dataset(path, tmp_path / "own.yml", told.append)
    assert told[0] == "reading the log"
    assert told[-1] == "trying the draft on the log"
