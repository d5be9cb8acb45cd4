"""Search and download against archives on the loopback: one like GEODES, one like Copernicus, one plain STAC API."""

import io
import json
import logging
import re
import socket
import subprocess
import sys
import threading
import zipfile
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from sitsfuse.catalogue.download import download
from sitsfuse.catalogue.query import Query
from sitsfuse.catalogue.search import Found, search, table
from sitsfuse.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:eodag")  # of the library that it parses with

VENUS = "THEIA_REFLECTANCE_VENUS_VM1_L2A"
ARM = (-97.6, 36.5, -97.4, 36.7)
KEY = "the-key"
VENUS_QUERY = Query("geodes", VENUS, "2018-06-01", "2018-06-30", tile="ARM")


def zipped(name, size=2000):
    """A zip archive of about ``size`` bytes."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as out:
        out.writestr(f"{name}/{name}_MTD_ALL.xml", "x" * size)
    return memory.getvalue()


def day(item):
    return item["time"][:10]


class Archive:
    """Products, the ways in which the three kinds of servers tell of them, and a record of what was asked."""

    def __init__(self, items):
        self.items = items
        self.files = {item["id"]: zipped(item["id"]) for item in items}
        self.pages = Counter()  # requests by path
        self.bodies = []
        self.cap = 1000  # products per page that the server allows
        self.counted = True  # whether it tells how many there are
        self.linked = True  # whether it links to the next page as eodag understands
        self.broken = {}  # status, or "cut", by product
        self.failing = None  # a status for every search
        self.key = None
        self.offline = set()
        self.url = ""

    def select(self, collection, first, last, box=None, tile=lambda _: True):
        """The products in two dates (text compares like time), a box and a tile."""
        return [
            i
            for i in self.items
            if i["collection"] == collection
            and first <= i["time"] <= last
            and (box is None or (box[0] <= i["lon"] <= box[2] and box[1] <= i["lat"] <= box[3]))
            and tile(i["tile"])
        ]

    def geodes(self, body):
        query = body["query"]
        code = query.get("grid:code", {}).get("contains", "")
        (collection,) = body["collections"]
        chosen = self.select(
            collection,
            query["end_datetime"]["gte"],
            query["start_datetime"]["lte"],
            box(body),
            lambda tile: code in tile,
        )
        limit, page = min(body["limit"], 80, self.cap), int(body.get("page", 1))
        features = [self.geodes_item(i) for i in chosen[(page - 1) * limit : page * limit]]
        return {"type": "FeatureCollection", "features": features, "context": {"matched": len(chosen)}}

    def geodes_item(self, item):
        size = len(self.files[item["id"]])
        properties = {
            "identifier": item["id"],
            "datetime": item["time"],
            "start_datetime": item["time"],
            "end_datetime": item["time"],
            "eo:cloud_cover": item["cloud"],
            "grid:code": item["tile"],
            "platform": item["platform"],
            "geodes:endpoint_url": self.url,
        }
        data = {
            "href": f"{self.url}/api/download/URN:{item['id']}/files/{item['id']}",
            "type": "application/zip",
            "roles": ["data"],
            "description": f"File size: {size} bytes\n\nIs reference: true\n\nIs online: true",
        }
        look = {"href": f"{self.url}/look/{item['id']}.jpg", "type": "image/jpeg", "roles": ["overview"]}
        assets = {f"{item['id']}.zip": data, "quicklook": look}
        return feature(item, f"URN:{item['id']}", properties, assets)

    def availability(self, body):
        products = []
        for asked in body["availability"]:
            name = asked["href"].rpartition("/")[2]
            files = [{"checksum": f"files/{name}", "available": name not in self.offline}]
            products.append({"id": f"URN:{name}", "files": files})
        return {"products": products}

    def stac(self, body):
        first, last = body["datetime"].split("/")
        code = body.get("query", {}).get("grid:code", {}).get("eq")
        chosen = self.select(
            body["collections"][0], first, last, box(body), lambda tile: code in (None, f"MGRS-{tile.lstrip('T')}")
        )
        start = int(body.get("token", "0"))
        limit = min(body["limit"], self.cap)
        reply: dict[str, Any] = {"type": "FeatureCollection", "features": [], "links": []}
        if self.counted:
            reply["numberMatched"] = len(chosen)
        for item in chosen[start : start + limit]:
            properties = {"datetime": item["time"], "platform": item["platform"], "gsd": 10}
            if item["cloud"] is not None:
                properties["eo:cloud_cover"] = item["cloud"]
            assets = {
                name: {"href": f"{self.url}/files/{name}", "type": kind, "file:size": len(self.files[name])}
                for name, kind in item.get("assets", {item["id"]: "application/zip"}).items()
            }
            reply["features"].append(feature(item, item["id"], properties, assets))
        if start + limit < len(chosen):
            link = {"rel": "next", "method": "POST", "href": f"{self.url}/search"}
            body = {**body, "token": str(start + limit)}
            reply["links"].append(link | ({"body": body} if self.linked else {"href": f"{self.url}/search?cursor=2"}))
        return reply

    def odata(self, query):
        text = query["$filter"][0]
        tile = re.search(r"'tileId' and [^)]*Value eq '([^']*)'", text)
        assert "Value eq 'S2MSI2A'" in text
        assert "Collection/Name eq 'SENTINEL-2'" in text
        last = re.search(r"ContentDate/Start lt ([^ )]*)", text)[1]
        first = re.search(r"ContentDate/End gt ([^ )]*)", text)[1]
        chosen = self.select("S2", first, last, tile=lambda t: tile is None or t == tile[1])
        value = [
            {
                "Id": f"uuid-{i['id']}",
                "Name": f"{i['id']}.SAFE",
                "Online": i["id"] not in self.offline,
                "ContentLength": 10**9,
                "ContentDate": {"Start": i["time"], "End": i["time"]},
                "Footprint": "geography'SRID=4326;POLYGON ((0 43, 1 43, 1 44, 0 44, 0 43))'",
                "Attributes": [
                    {"Name": "cloudCover", "Value": i["cloud"]},
                    {"Name": "tileId", "Value": i["tile"]},
                    {"Name": "platformSerialIdentifier", "Value": i["platform"]},
                ],
                "Assets": [],
            }
            for i in chosen
        ]
        skip, top = int(query["$skip"][0]), int(query["$top"][0])
        return {"@odata.count": len(chosen), "value": value[skip : skip + top]}


def box(body):
    """The bounds of what a request intersects."""
    if "intersects" not in body:
        return None
    x, y = zip(*body["intersects"]["coordinates"][0], strict=True)
    return min(x), min(y), max(x), max(y)


def feature(item, name, properties, assets):
    x, y = item["lon"], item["lat"]
    ring = [[x - 0.1, y - 0.1], [x + 0.1, y - 0.1], [x + 0.1, y + 0.1], [x - 0.1, y + 0.1], [x - 0.1, y - 0.1]]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": item["collection"],
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": properties,
        "assets": assets,
        "links": [],
    }


class Provider(ThreadingHTTPServer):
    """A server on loopback that answers as a provider does."""

    archive: Archive


class Handler(BaseHTTPRequestHandler):
    server: Provider

    def log_message(self, *_):
        pass

    def reply(self, status, data, length=None):
        self.send_response(status)
        self.send_header("Content-Length", str(length or len(data)))
        if "/download/" in self.path:
            self.send_header("Content-Disposition", f'attachment; filename="{self.path.rpartition("/")[2]}.zip"')
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        archive, path = self.server.archive, urlsplit(self.path).path
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        archive.pages[path] += 1
        archive.bodies.append(body)
        answer = {
            "/api/stac/search": archive.geodes,
            "/fastavailability": archive.availability,
            "/search": archive.stac,
        }.get(path)
        if answer is None or archive.failing:
            self.reply(archive.failing or 404, b"no such collection here")
        else:
            self.reply(200, json.dumps(answer(body)).encode())

    def do_GET(self):
        archive, url = self.server.archive, urlsplit(self.path)
        archive.pages[url.path] += 1
        if url.path == "/odata":
            return self.reply(200, json.dumps(archive.odata(parse_qs(url.query))).encode())
        if url.path == "/oidc":
            ends = dict.fromkeys(("token_endpoint", "authorization_endpoint", "jwks_uri"), archive.url + "/login")
            ends["id_token_signing_alg_values_supported"] = ["RS256"]
            return self.reply(200, json.dumps(ends).encode())
        name = unquote(url.path.rpartition("/")[2])
        data, fault = archive.files.get(name), archive.broken.get(name)
        if archive.key and self.headers.get("X-API-Key") != archive.key:
            return self.reply(401, b"no key")
        if isinstance(fault, int) or data is None:
            return self.reply(fault or 404, b"sorry")
        if fault == "cut":
            return self.reply(200, data[:1000], len(data))
        return self.reply(200, b"<html>later</html>" if fault == "page" else data)

    def do_HEAD(self):
        self.do_GET()


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """The folder in which eodag keeps the user's settings."""
    return tmp_path_factory.mktemp("eodag")


@pytest.fixture
def archive(tmp_path, settings, monkeypatch):
    """Starts a server over products; eodag is told by its own environment variables to take it for the archives."""
    pytest.importorskip("eodag", reason="eodag (the extra 'download') is not installed")
    server = Provider(("127.0.0.1", 0), Handler)
    url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    for name, value in {
        "HOME": str(tmp_path / "home"),
        "EODAG_CFG_DIR": str(settings),
        "EODAG__GEODES__SEARCH__API_ENDPOINT": f"{url}/api/stac/search",
        "EODAG__GEODES__SEARCH__RETRY_TOTAL": "0",
        "EODAG__GEODES__AUTH__MATCHING_URL": url,
        "EODAG__GEODES__AUTH__CREDENTIALS__APIKEY": KEY,
        "EODAG__COP_DATASPACE__SEARCH__API_ENDPOINT": f"{url}/odata",
        "EODAG__COP_DATASPACE__SEARCH__METADATA_MAPPING__EODAG_DOWNLOAD_LINK": f"{url}/value/{{title}}",
        "EODAG__COP_DATASPACE__AUTH__OIDC_CONFIG_URL": f"{url}/oidc",
        "EODAG__COP_DATASPACE__AUTH__MATCHING_URL": url,
    }.items():
        monkeypatch.setenv(name, value)
    resolve, called = socket.getaddrinfo, set()

    def noted(host, *args, **kwargs):
        called.add(host)
        return resolve(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", noted)

    def start(items):
        server.archive = Archive(items)
        server.archive.url = url
        return server.archive

    yield start
    server.shutdown()
    server.server_close()
    assert called <= {"127.0.0.1"}


def venus(n, tile="ARM", first=date(2018, 6, 1), cloud=lambda k: 5.0 * k, lon=-97.5):
    return [
        {
            "id": f"VENUS-XS_{first + timedelta(k):%Y%m%d}-170000-000_L2A_{tile}_C_V3-1",
            "collection": VENUS,
            "time": f"{first + timedelta(k)}T17:00:00.000Z",
            "cloud": cloud(k),
            "tile": tile,
            "platform": "VENUS",
            "lon": lon,
            "lat": 36.6,
        }
        for k in range(n)
    ]


def plain(n, **more):
    return [
        {
            "id": f"S2{'AB'[k % 2]}_31TCJ_{date(2020, 1, 1) + timedelta(k):%Y%m%d}_0_L2A",
            "collection": "s2",
            "time": f"{date(2020, 1, 1) + timedelta(k)}T10:50:31.024Z",
            "cloud": None,
            "tile": "31TCJ",
            "platform": f"sentinel-2{'ab'[k % 2]}",
            "lon": 0.5,
            "lat": 43.5,
            **more,
        }
        for k in range(n)
    ]


def plain_query(archive, **more):
    fields = {"bounds": (0.0, 43.0, 1.0, 44.0), **more}
    return Query(archive.url, "s2", "2020-01-01", "2020-12-31", **fields)


def ids(found):
    return [f.id for f in found]


# --- queries -----------------------------------------------------------------------------------------------------


GOOD = {"provider": "geodes", "collection": VENUS, "start": "2018-06-01", "end": "2018-06-30", "tile": "ARM"}


def test_query_from_a_table_of_toml():
    values = {**GOOD, "start": date(2018, 6, 1), "end": datetime(2018, 6, 30, 12, tzinfo=UTC), "bounds": list(ARM)}
    assert Query.from_mapping("site.toml", values) == Query(**{**GOOD, "bounds": ARM})
    assert hash(Query.from_mapping("site.toml", values))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"provider": "peps"}, ("provider", "'peps' is unknown", "geodes, cop_dataspace")),
        ({"collection": 'S2"}'}, ("collection", "cannot be")),
        ({"tile": 31}, ("tile", "cannot be 31")),
        ({"tile": None}, ("bounds", "tile")),
        ({"start": "June"}, ("start", "'June' is not a date", "2020-06-01")),
        ({"start": "2018-06-31"}, ("start", "not a date")),
        ({"end": "20180630"}, ("end", "not a date")),
        ({"end": "2018-05-30"}, ("end", "before the start")),
        ({"bounds": [500000, 4000000, 600000, 4100000]}, ("bounds", "degrees")),
        ({"bounds": [1, 43, 0, 44]}, ("bounds", "west, south, east and north")),
        ({"bounds": [0, 43, 1]}, ("bounds", "west, south, east and north")),
        ({"bounds": [0, 43, "1", 44]}, ("bounds", "west, south, east and north")),
        ({"bounds": [0, 43, float("nan"), 44]}, ("bounds", "west, south, east and north")),
        ({"bounds": []}, ("bounds", "west, south, east and north")),
        ({"bounds": 3.0}, ("bounds", "west, south, east and north")),
        ({"cloud": 120}, ("cloud", "120", "0 to 100 %")),
        ({"cloud": "20"}, ("cloud", "'20'")),
        ({"clouds": 20}, ("unknown key 'clouds'", "collection, start, end, bounds, tile, cloud")),
    ],
)
def test_wrong_queries(change, words):
    with pytest.raises(InputError) as caught:
        Query.from_mapping("site.toml [guide.search]", {**GOOD, **change})
    text = str(caught.value)
    assert text.startswith("site.toml [guide.search]")
    assert "\n" not in text
    for word in words:
        assert word in text


def test_missing_keys_are_named():
    with pytest.raises(InputError, match=r"site\.toml: lacks collection, end"):
        Query.from_mapping("site.toml", {"provider": "geodes", "start": "2018-06-01", "tile": "ARM"})


def test_missing_eodag_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "eodag", None)
    monkeypatch.setitem(sys.modules, "eodag.utils", None)
    with pytest.raises(InputError, match=r"sitsfuse\[download\]"):
        search(VENUS_QUERY)


def test_eodag_waits_until_it_is_needed():
    code = "import sys, sitsfuse.catalogue.search; sys.exit('eodag' in sys.modules or 'requests' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- search ------------------------------------------------------------------------------------------------------


def test_venus_of_a_site(archive, tmp_path):
    other = venus(3, tile="BAMBENW2", lon=10.0) + venus(2, tile="ARM2")
    june = venus(30, cloud=lambda k: 5.0 * (k % 20))
    server = archive(other + [*june, *venus(3, first=date(2018, 7, 1)), *venus(3, first=date(2018, 5, 29))][::-1])
    found = search(replace(VENUS_QUERY, cloud=50.0))
    # June only, both of its ends, no more than half clouded, none of a site whose name only begins alike.
    assert ids(found) == [i["id"] for i in june if i["cloud"] <= 50]
    assert found[0] == Found(
        provider="geodes",
        id="VENUS-XS_20180601-170000-000_L2A_ARM_C_V3-1",
        time=datetime(2018, 6, 1, 17, tzinfo=UTC),
        cloud=0.0,
        size=len(server.files[found[0].id]),
        online=True,
        url=f"{server.url}/api/download/URN:{found[0].id}/files/{found[0].id}",
        fetch=found[0].fetch,
    )
    assert set(server.pages) == {"/api/stac/search", "/fastavailability"}
    assert not (tmp_path / "home").exists()


def test_all_pages_of_geodes(archive):
    server = archive(venus(161))
    assert ids(search(replace(VENUS_QUERY, end="2018-12-31"))) == [i["id"] for i in venus(161)]
    assert server.pages["/api/stac/search"] == 3


def test_bounds_and_tile_together(archive):
    server = archive(venus(3) + venus(3, tile="ARM-2") + venus(3, lon=10.0))
    found = search(replace(VENUS_QUERY, bounds=ARM))
    assert ids(found) == [i["id"] for i in venus(3)]
    assert "grid:code" not in server.bodies[0]["query"]


def test_geodes_writes_tiles_in_two_ways(archive):
    items = venus(4, tile="T31TCJ")
    for k, item in enumerate(items):
        item["tile"] = "31TCJ" if k % 2 else "T31TCJ"
    archive(items)
    assert len(search(replace(VENUS_QUERY, tile="T31TCJ"))) == 4


def test_products_on_tape(archive):
    server = archive(venus(3))
    server.offline = {venus(3)[1]["id"]}
    found = search(VENUS_QUERY)
    assert [f.online for f in found] == [True, False, True]
    assert [("on tape" in line) for line in table(found).splitlines()[1:4]] == [False, True, False]


def safe(n, tile="31TCJ"):
    return [
        {
            "id": f"S2{'AB'[k % 2]}_MSIL2A_202006{k + 1:02}T105031_N0500_R051_T{tile}_20230401T120000",
            "collection": "S2",
            "time": f"2020-06-{k + 1:02}T10:50:31.024Z",
            "cloud": 10.0 * k,
            "tile": tile,
            "platform": "AB"[k % 2],
        }
        for k in range(n)
    ]


def test_safe_of_copernicus(archive):
    server = archive(safe(8) + safe(4, tile="31TDJ"))
    server.offline = {safe(8)[2]["id"]}
    query = Query("cop_dataspace", "S2_MSI_L2A", "2020-06-01", "2020-06-07", tile="31TCJ", platform="S2A", cloud=45)
    found = search(query)
    assert ids(found) == [safe(8)[k]["id"] for k in (0, 2, 4)]
    assert [f.size for f in found] == [10**9] * 3
    assert [f.cloud for f in found] == [0.0, 20.0, 40.0]
    assert [f.online for f in found] == [True, False, True]


@pytest.mark.parametrize(("counted", "cap", "n"), [(True, 1000, 201), (False, 7, 15), (False, 1000, 100)])
def test_all_pages_of_a_stac_api(archive, counted, cap, n):
    server = archive(plain(n))
    server.counted, server.cap = counted, cap
    found = search(plain_query(server))
    assert ids(found) == [i["id"] for i in sorted(plain(n), key=day)]


@pytest.mark.parametrize("counted", [True, False])
def test_a_lost_next_page_is_no_silent_loss(archive, counted):
    server = archive(plain(101))
    server.counted, server.linked = counted, False
    with pytest.raises(InputError, match=r"gave only 100 of \d+ or more.*narrow"):
        search(plain_query(server))


def test_catalogue_instead_of_the_provider(archive):
    server = archive(plain(5))
    query = replace(plain_query(server), provider="geodes")
    assert len(search(query, catalogue=f"{server.url}/search/")) == 5
    assert set(server.pages) == {"/search"}


def test_a_tile_without_bounds_in_a_stac_api(archive):
    server = archive(plain(4) + [{**i, "id": i["id"].replace("31TCJ", "31TDJ"), "tile": "31TDJ"} for i in plain(4)])
    assert ids(search(plain_query(server, bounds=None, tile="T31TCJ"))) == [i["id"] for i in plain(4)]


def test_platforms_in_any_spelling_and_unknown_cloud(archive):
    items = plain(6)
    items[0]["cloud"], items[2]["cloud"] = 0, 80
    found = search(plain_query(archive(items), platform="S2A", cloud=30))
    assert ids(found) == [items[k]["id"] for k in (0, 4)]


def test_nothing_there(archive):
    archive(venus(3))
    with pytest.raises(InputError, match=r"geodes: has nothing of THEIA_\w+ from 2018-06-01 .*tile NOWHERE; .*bounds"):
        search(replace(VENUS_QUERY, tile="NOWHERE"))
    archive(venus(3, cloud=lambda k: 50.0))
    with pytest.raises(InputError, match=r"has 3 such products, but none with at most 1 % of cloud \(one is VENUS"):
        search(replace(VENUS_QUERY, cloud=1))


def test_archives_that_fail(archive, monkeypatch, capfd):
    # As where nobody has set up logging.
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(logging.getLogger("eodag"), "handlers", [])
    server = archive(venus(3))
    server.failing = 400
    with pytest.raises(InputError, match=r"geodes: refuses the query \(.*400.*\); check .*THEIA_REFLECTANCE_VENUS"):
        search(VENUS_QUERY)
    server.failing = 500
    with pytest.raises(InputError, match=r"geodes: does not answer \(.*500.*\); check the network"):
        search(VENUS_QUERY)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("EODAG__GEODES__SEARCH__API_ENDPOINT", f"http://127.0.0.1:{port}/api/stac/search")
    with pytest.raises(InputError, match=r"geodes: does not answer \(.*refused.*\); check the network"):
        search(VENUS_QUERY)
    assert capfd.readouterr() == ("", "")  # no traceback of eodag's on the way


def test_a_page_that_is_no_stac_api(archive):
    server = archive(plain(3))
    with pytest.raises(InputError, match=r"127.0.0.1:\d+/elsewhere: refuses the query \(.*404.*check the address"):
        search(replace(plain_query(server), provider=f"{server.url}/elsewhere"))


def test_an_answer_on_a_later_page_that_fails(archive):
    server = archive(venus(81))
    whole = server.geodes
    server.geodes = lambda body: whole(body) if int(body.get("page", 1)) < 2 else 1 / 0
    with pytest.raises(InputError, match="geodes: does not answer"):
        search(replace(VENUS_QUERY, end="2018-12-31"))


# --- download ----------------------------------------------------------------------------------------------------


def test_download_resumes(archive, tmp_path):
    server = archive(venus(4))
    server.key = KEY
    found, folder = search(VENUS_QUERY), tmp_path / "a" / "products"
    steps = []
    first = download(found[:2], folder)
    paths = download(found, folder, lambda *step: steps.append(step))
    assert first == paths[:2]
    assert paths == [folder / f"{f.id}.zip" for f in found]
    for f, path in zip(found, paths, strict=True):
        assert path.read_bytes() == server.files[f.id]
        assert server.pages[f"/api/download/URN:{f.id}/files/{f.id}"] == 1
    assert sorted(p.name for p in folder.iterdir()) == sorted(p.name for p in paths)
    assert not [p for p in server.pages if "look" in p]


def test_progress_counts_all_megabytes(archive, tmp_path):
    server = archive(venus(3))
    server.files |= {item["id"]: zipped(item["id"], 2_000_000) for item in venus(3)[1:]}
    found = search(VENUS_QUERY)
    (tmp_path / found[2].id).mkdir()  # unpacked already
    steps = []
    download(found, tmp_path, lambda *step: steps.append(step))
    done = [d for _, d, _ in steps]
    assert {(stage, total) for stage, _, total in steps} == {("downloading, MB", 4)}
    assert done == sorted(done)
    assert done[-1] == 4
    assert len(set(done)) > 3
    assert server.pages[f"/api/download/URN:{found[2].id}/files/{found[2].id}"] == 0


def test_what_is_not_complete_is_fetched_again(archive, tmp_path):
    server = archive(venus(1))
    found = search(VENUS_QUERY)
    for k, rest in enumerate([b"", b"half of an archive", b"PK\x03\x04" + bytes(500)]):
        folder = tmp_path / str(k)
        scratch = folder / ".partial" / found[0].id  # of a run that was killed
        scratch.mkdir(parents=True)
        for name in (folder, scratch):
            (name / f"{found[0].id}.zip").write_bytes(rest)
        (path,) = download(found, folder)
        assert path.read_bytes() == server.files[found[0].id]
        assert list(folder.iterdir()) == [path]


def test_what_is_there_counts(tmp_path):
    pytest.importorskip("eodag", reason="eodag (the extra 'download') is not installed")
    for k, ending in enumerate([".zip", "", ".SAFE"]):
        there = tmp_path / str(k) / f"P1{ending}"
        there.parent.mkdir()
        if ending == ".zip":
            there.write_bytes(zipped("mine"))
        else:
            there.mkdir()
        assert download([replace(product(1, None, None), fetch=pytest.fail)], there.parent) == [there]


def test_failures_do_not_stop_the_others(archive, tmp_path, capfd):
    server = archive(venus(5))
    names = [i["id"] for i in venus(5)]
    server.broken = {names[0]: 500, names[1]: "cut", names[3]: "page"}
    server.offline = {names[3]}
    found, folder = search(VENUS_QUERY), tmp_path / "products"
    with pytest.raises(InputError) as caught:
        download(found, folder)
    head, *lines = str(caught.value).splitlines()
    assert "3 of 5 products could not be downloaded; run again" in head
    assert [line.split(":")[0].strip() for line in lines] == [names[0], names[1], names[3]]
    assert "500" in lines[0]
    assert "not a complete zip archive" in lines[2]
    assert ["on tape" in line for line in lines] == [False, False, True]
    assert sorted(p.name for p in folder.iterdir()) == [f"{names[2]}.zip", f"{names[4]}.zip"]
    assert capfd.readouterr() == ("", "")
    server.broken = {}
    assert len(download(found, folder)) == 5


@pytest.mark.parametrize("key", [None, "another"])
def test_credentials_are_asked_for(archive, tmp_path, settings, monkeypatch, key):
    server = archive(venus(3))
    server.key = KEY
    if key is None:
        monkeypatch.delenv("EODAG__GEODES__AUTH__CREDENTIALS__APIKEY")
    else:
        monkeypatch.setenv("EODAG__GEODES__AUTH__CREDENTIALS__APIKEY", key)
    found = search(VENUS_QUERY)
    with pytest.raises(InputError) as caught:
        download(found, tmp_path / "products")
    text = str(caught.value)
    assert text.startswith("geodes: refuses access")
    assert "EODAG__GEODES__AUTH__CREDENTIALS__APIKEY" in text
    assert str(settings / "eodag.yml") in text
    assert "\n" not in text


def test_credentials_of_copernicus(archive, tmp_path):
    archive(safe(2))
    found = search(Query("cop_dataspace", "S2_MSI_L2A", "2020-06-01", "2020-06-07", tile="31TCJ"))
    with pytest.raises(InputError) as caught:
        download(found, tmp_path / "products")
    variables = [f"EODAG__COP_DATASPACE__AUTH__CREDENTIALS__{name}" for name in ("USERNAME", "PASSWORD")]
    assert str(caught.value).startswith("cop_dataspace: refuses access (")
    assert f"set {' and '.join(variables)}, or username and password under cop_dataspace: auth" in str(caught.value)


def test_archives_of_a_stac_api(archive, tmp_path):
    server = archive(plain(2))
    server.files["look.png"] = b"png"
    for item in server.items:
        item["assets"] = {item["id"]: "application/zip", "look.png": "image/png"}
    found = search(plain_query(server))
    assert [f.size for f in found] == [len(server.files[f.id]) for f in found]
    paths = download(found, tmp_path)
    assert [p.read_bytes() for p in paths] == [server.files[f.id] for f in found]
    assert [p.name for p in paths] == [f"{f.id}.zip" for f in found]
    assert server.pages["/files/look.png"] == 0


def test_files_of_a_stac_api(archive, tmp_path):
    server = archive(plain(1))
    server.files |= {"B04.tif": b"red", "B08.tif": b"near infrared"}
    server.items[0]["assets"] = {"B04.tif": "image/tiff", "B08.tif": "image/tiff"}
    found, folder = search(plain_query(server)), tmp_path / "products"
    server.broken = {"B08.tif": 500}
    with pytest.raises(InputError, match="1 of 1 products"):
        download(found, folder)
    assert list(folder.iterdir()) == []
    server.broken = {}
    (folder / ".partial" / found[0].id / found[0].id).mkdir(parents=True)
    (folder / ".partial" / found[0].id / found[0].id / "old.tif").write_bytes(b"of a run that was killed")
    assert download(found, folder) == [folder / found[0].id]
    assert {p.name: p.read_bytes() for p in (folder / found[0].id).iterdir()} == {
        "B04.tif": b"red",
        "B08.tif": b"near infrared",
    }
    assert download(found, tmp_path / "elsewhere") == [tmp_path / "elsewhere" / found[0].id]


def test_a_folder_that_cannot_be_written(tmp_path):
    pytest.importorskip("eodag", reason="eodag (the extra 'download') is not installed")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"file: cannot be written"):
        download([product(1, None, None)], tmp_path / "file")


def product(day, cloud, size, online=True):
    return Found("geodes", f"P{day}", datetime(2020, 6, day, 10, 5, tzinfo=UTC), cloud, size, online, "", print)


def test_table():
    text = table([product(1, 0.4, 999_600_000), product(12, None, None, online=False)])
    assert text.splitlines() == [
        "date              cloud     size  product",
        "2020-06-01 10:05    0 %  1000 MB  P1",
        "2020-06-12 10:05                  P12  (on tape)",
        "products: 2, at least 1000 MB",
    ]
