"""The shop's raw files in the forms they come in, and where they come from."""

import hashlib
import http.server
import io
import threading
import zipfile
from datetime import UTC, datetime

import pytest
from openpyxl import Workbook

from ingest import online_retail
from ingest.land import ingest
from ingest.online_retail import WORKBOOK, verified_workbook
from ingest.resolving import resolve
from tastemaker.errors import TastemakerError

AS_OF = datetime(2011, 12, 10, tzinfo=UTC)
HEADER = ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"]


def workbook_bytes() -> bytes:
    book = Workbook()
    book.active.append(HEADER)
    book.active.append([536365, "85123A", "HEART", 6, datetime(2010, 12, 1, 8, 26), 2.55, 17850, "United Kingdom"])
    book.active.append(["C536379", 22423, None, -1, datetime(2010, 12, 1, 9, 41), 27.5, None, "Norway"])
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(WORKBOOK, content)
    return file.getvalue()


@pytest.fixture
def served(monkeypatch):
    """Serves bytes as the UCI archive."""
    body: list[bytes] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body[0])

        def log_message(self, *_args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(online_retail, "ARCHIVE_URL", f"http://127.0.0.1:{server.server_port}/online+retail.zip")
    yield body.append
    server.shutdown()
    server.server_close()


def test_excel_form(home, tmp_path, landed):
    (tmp_path / WORKBOOK).write_bytes(workbook_bytes())
    ingest(home, "online_retail", str(tmp_path / WORKBOOK), AS_OF)
    first, second = landed("order_lines")
    assert {name: first[name] for name in first if not name.startswith("_")} == {
        "invoice_no": "536365",
        "stock_code": "85123A",
        "description": "HEART",
        "quantity": 6,
        "invoice_date": datetime(2010, 12, 1, 8, 26),
        "unit_price": 2.55,
        "customer_id": 17850,
        "country": "United Kingdom",
    }
    assert (second["invoice_no"], second["stock_code"], second["quantity"]) == ("C536379", "22423", -1)
    assert (second["customer_id"], second["description"], second["_row"]) == (None, None, 2)


def test_text_forms_of_time_and_customer(home, tmp_path, landed):
    lines = [
        "536365,85123A,HEART,6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom",
        "536365,85123A,HEART,6,12/1/2010 8:26,2.55,17850,United Kingdom",
        "536365,85123A,HEART,6.5,2010-12-01 08:26:00,2.55,17850,United Kingdom",
        "536365,85123A,HEART,6,2010-12-01 08:26:00,nan,17850,United Kingdom",
        "536365,,HEART,6,2010-12-01 08:26:00,2.55,17850,United Kingdom",
        "C536365,85123A,HEART,-6,2010-12-01 08:26:00,-2.55,,United Kingdom",
    ]
    (tmp_path / "lines.csv").write_text("\n".join([",".join(HEADER), *lines]) + "\n")
    ingest(home, "online_retail", str(tmp_path / "lines.csv"), AS_OF)
    rows = landed("order_lines")
    assert [row["_row"] for row in rows] == [1, 2, 6]
    assert {row["invoice_date"] for row in rows} == {datetime(2010, 12, 1, 8, 26)}
    assert [row["customer_id"] for row in rows] == [17850, 17850, None]
    assert [row["_column"] for row in landed("quarantine/order_lines")] == ["quantity", "unit_price", "stock_code"]


def test_lines_that_come_again_in_another_form_are_not_doubled(home, tmp_path, landed):
    lines = ["536365,85123A,HEART,6,2010-12-01 08:26:00,2.55,17850,United Kingdom"] * 2
    (tmp_path / "lines.csv").write_text("\n".join([",".join(HEADER), *lines]) + "\n")
    ingest(home, "online_retail", str(tmp_path / "lines.csv"), AS_OF)
    assert len(landed("order_lines")) == 2, "a shop may write the same line twice"

    (tmp_path / WORKBOOK).write_bytes(workbook_bytes())
    ingest(home, "online_retail", str(tmp_path / WORKBOOK), AS_OF)
    assert [row["invoice_no"] for row in landed("order_lines")] == ["C536379", "536365", "536365"]
    [again] = landed("quarantine/order_lines")
    assert again["_reason"] == "the whole row is already in lines.csv, row 1"


def test_named_files_come_first(home):
    named = {"online_retail": "elsewhere"}
    assert resolve("online_retail", "there", named, home).path == "there"
    assert resolve("online_retail", None, named, home).path == "elsewhere"
    with pytest.raises(TastemakerError, match="name them with --path or TASTEMAKER_PATH"):
        resolve("landing", None, named, home)


def test_archive_is_verified_and_cached(home, served, monkeypatch):
    monkeypatch.setattr(online_retail, "WORKBOOK_SHA256", hashlib.sha256(workbook_bytes_once()).hexdigest())
    served(zipped(workbook_bytes_once()))
    found = resolve("online_retail", None, {}, home)
    assert (found.source, found.is_simulated) == ("online_retail", False)
    assert ingest(home, found.source, found.path, AS_OF).facts["passed"] == 2

    monkeypatch.setattr(online_retail, "ARCHIVE_URL", "http://127.0.0.1:9/")
    assert resolve("online_retail", None, {}, home).path == found.path


def workbook_bytes_once(made: list[bytes] = []) -> bytes:  # noqa: B006  Excel writes the time into the file
    if not made:
        made.append(workbook_bytes())
    return made[0]


def test_archive_with_other_bytes_is_refused(home, served):
    served(zipped(b"something else"))
    with pytest.raises(TastemakerError, match=f"has SHA-256 .*, expected {online_retail.WORKBOOK_SHA256}; download"):
        resolve("online_retail", None, {}, home)
    assert not list(home.cache.rglob("*.xlsx"))


def test_archive_that_is_no_zip_is_refused():
    with pytest.raises(TastemakerError, match=r"gave no zip file with Online Retail\.xlsx"):
        verified_workbook(b"<html>log in first</html>", "0" * 64)
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("readme.txt", "")
    with pytest.raises(TastemakerError, match=r"gave no zip file with Online Retail\.xlsx"):
        verified_workbook(other.getvalue(), "0" * 64)


def test_offline_the_shop_is_simulated_and_says_so(home, monkeypatch):
    monkeypatch.setattr(online_retail, "ARCHIVE_URL", "http://127.0.0.1:9/online+retail.zip")
    found = resolve("online_retail", None, {}, home)
    assert (found.source, found.is_simulated) == ("landing", True)
    assert found.sentence.startswith("SIMULATED DATA")
    as_of = datetime(2024, 4, 30, tzinfo=UTC)
    facts = ingest(home, found.source, found.path, as_of, is_simulated=True).facts
    assert facts["is_simulated"]
    assert facts["quarantined"] == 0
    # the network comes back: a home that began with a simulated shop stays with it
    monkeypatch.setattr(online_retail, "ARCHIVE_URL", "http://127.0.0.1:1/never-asked")
    assert resolve("online_retail", None, {}, home).sentence.startswith("SIMULATED DATA")
    assert ingest(home, found.source, found.path, as_of, is_simulated=True).reused
