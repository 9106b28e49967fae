"""Where the Online Retail rows come from: a file that was named, else the UCI archive, else a simulated shop.

Chen, Sain & Guo (2012), doi 10.1057/dbm.2012.17; UCI Machine Learning Repository 352, CC BY 4.0.
"""

import hashlib
import io
import json
import shutil
import zipfile
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

from ingest import simulated_catalogue, simulated_shop, simulated_traffic
from ingest.discovery import NETWORK_SECONDS, Found
from ingest.sources import LANDING, ONLINE_RETAIL
from tastemaker.errors import TastemakerError
from tastemaker.home import Home
from tastemaker.steps import digest_files, write_atomically

ARCHIVE_URL = "https://archive.ics.uci.edu/static/public/352/online+retail.zip"
WORKBOOK = "Online Retail.xlsx"
# of the workbook inside (23,715,344 bytes), as independent users of the archive publish it; the zip around it may be
# packed anew without the rows changing
WORKBOOK_SHA256 = "43465a06f2ccf7c8b5bd2892bc7defb52f97487934fe93b16ae4c3936424676d"


def find_online_retail(named: str | None, home: Home) -> Found:
    """The order lines that `tastemaker ingest` is to land.

    Args:
        named: TASTEMAKER_ONLINE_RETAIL, a path or URL, or None.
        home: its cache holds downloads and the simulated shop; where a simulated shop has landed, it stays one.

    Raises TastemakerError when the archive's bytes are not the published ones.
    """
    if named is not None:
        return Found(ONLINE_RETAIL.name, named, False, f"Source online_retail: {named}.")
    if _landed_simulated(home):
        return _simulated(home.cache, "this home was begun with it")
    workbook = home.cache / "online_retail" / WORKBOOK
    if not workbook.exists():
        try:
            archive = _download(ARCHIVE_URL)
        except (OSError, HTTPException) as problem:
            return _simulated(home.cache, f"{ARCHIVE_URL} cannot be reached ({problem})")
        write_atomically(workbook, verified_workbook(archive, WORKBOOK_SHA256))
    return Found(ONLINE_RETAIL.name, str(workbook), False, f"Source online_retail: {ARCHIVE_URL}, checksum verified.")


def verified_workbook(archive: bytes, sha256: str) -> bytes:
    """The Excel workbook inside the UCI zip; raises TastemakerError when it is not the one with that digest."""
    hint = f"download {ARCHIVE_URL} by hand and name the {WORKBOOK} inside with TASTEMAKER_ONLINE_RETAIL"
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as members:
            workbook = members.read(WORKBOOK)
    except (zipfile.BadZipFile, KeyError) as problem:
        raise TastemakerError(f"{ARCHIVE_URL} gave no zip file with {WORKBOOK} ({problem}); {hint}.") from None
    found = hashlib.sha256(workbook).hexdigest()
    if found != sha256:
        raise TastemakerError(f"{WORKBOOK} from {ARCHIVE_URL} has SHA-256 {found}, expected {sha256}; {hint}.")
    return workbook


def _download(url: str) -> bytes:
    with closing(urlopen(url, timeout=NETWORK_SECONDS)) as response:
        content: bytes = response.read()
    return content


def _landed_simulated(home: Home) -> bool:
    about = home.landing / "source.json"
    return about.exists() and bool(json.loads(about.read_text(encoding="utf-8"))["is_simulated"])


def _simulated(cache: Path, why: str) -> Found:
    rooms = (simulated_shop, simulated_traffic, simulated_catalogue)
    code = digest_files([Path(str(module.__file__)) for module in rooms])
    folder = cache / f"simulated-shop-{code[:8]}"
    if not folder.exists():
        beside = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(beside, ignore_errors=True)
        simulated_shop.simulate().write(beside)
        beside.replace(folder)
    return Found(
        LANDING.name,
        str(folder),
        True,
        f"SIMULATED DATA: every customer, item and event below is invented, because {why}; "
        "name the real file with TASTEMAKER_ONLINE_RETAIL.",
    )
