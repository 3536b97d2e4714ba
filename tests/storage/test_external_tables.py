"""External tables: files of a form that a statement reads as tables."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from storage.service.errors import ServiceError
from storage.service.external import External, for_reader
from tests.storage.conftest import Database
from tests.support.chdb_service import ChdbService

CSV = b"1,one\n2,two\n"


def ask(
    service: ChdbService, user: str, query: str, files: dict[str, bytes] | None = None, **given: str
) -> httpx.Response:
    data: dict[str, Any] = {name: (name, rows) for name, rows in (files or {"ext": CSV}).items()}
    told = {"ext_format": "CSV", "ext_structure": "id UInt8, name String"} if "ext" in data else {}
    params = {"query": query} | told | given
    return httpx.post(service.address, params=params, files=data, headers=service.headers(user), timeout=60)


@pytest.mark.parametrize("user", ["default", "analyst"])
@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("SELECT * FROM ext ORDER BY id DESC", "2\ttwo\n1\tone\n"),
        ("SELECT number FROM numbers(5) WHERE number IN (SELECT id FROM ext)", "1\n2\n"),
        ("WITH e AS (SELECT * FROM ext) SELECT a.name FROM ext AS a JOIN e ON a.id = e.id WHERE e.id = 2", "two\n"),
    ],
)
def test_a_statement_reads_them(service: ChdbService, user: str, query: str, answer: str) -> None:
    found = ask(service, user, query)
    assert (found.status_code, found.text) == (200, answer)


@pytest.mark.parametrize("user", ["default", "analyst"])
def test_types_alone_will_do_and_several_tables(service: ChdbService, user: str) -> None:
    given = {"a_types": "UInt8,Decimal(9, 2)", "b_structure": "x String", "b_format": "JSONEachRow"}
    files = {"a": b"1\t2.50\n", "b": b'{"x": "y"}\n'}
    found = ask(service, user, "SELECT a._1, a._2, b.x FROM a, b", files, **given)
    assert (found.status_code, found.text) == (200, "1\t2.5\ty\n")


def test_the_statement_may_be_a_field_of_the_form(service: ChdbService) -> None:
    fields = {"query": "SELECT count() FROM ext WHERE _1 > {low:UInt8}", "param_low": "1", "ext_types": "UInt8,String"}
    files = {"ext": ("ext", b"1\ta\n2\tb\n")}
    found = httpx.post(service.address, data=fields, files=files, headers=service.headers("analyst"), timeout=60)
    assert (found.status_code, found.text) == (200, "1\n")


def test_a_table_larger_than_memory_is_for_a_moment_is_read_too(service: ChdbService) -> None:
    rows = b"".join(b"%d,x\n" % (number % 200) for number in range(400_000))
    assert len(rows) > 2 * 2**20
    assert ask(service, "default", "SELECT count() FROM ext", {"ext": rows}).text == "400000\n"
    assert ask(service, "analyst", "SELECT count() FROM ext", {"ext": rows}).status_code == 413


def test_nothing_of_it_stays(service: ChdbService) -> None:
    for user in ("default", "analyst"):
        assert ask(service, user, "SELECT 1 FROM ext LIMIT 1").status_code == 200
        for _ in range(10):
            again = httpx.post(service.address, content="SELECT * FROM ext", headers=service.headers(user), timeout=60)
            assert again.headers["x-clickhouse-exception-code"] == "60"


@pytest.mark.parametrize("user", ["default", "analyst"])
@pytest.mark.parametrize(
    ("files", "given"),
    [
        pytest.param({"ext": b"x,y\n"}, {}, id="rows that do not fit"),
        pytest.param({"ext": CSV}, {"ext_structure": ""}, id="no structure"),
        pytest.param({"e`xt": CSV}, {}, id="a name that is none"),
        pytest.param({"ext": CSV}, {"ext_structure": "id Nope"}, id="no such type"),
        pytest.param({"ext": CSV}, {"ext_format": "Nope"}, id="no such format"),
        pytest.param({f"t{n}": CSV for n in range(9)}, {}, id="too many"),
    ],
)
def test_what_cannot_be_read_is_told(
    service: ChdbService, user: str, files: dict[str, bytes], given: dict[str, str]
) -> None:
    found = ask(service, user, "SELECT 1", files, **given)
    assert found.status_code in (400, 403, 404), found.text
    assert found.headers["x-clickhouse-exception-code"] != "1001", found.text


def test_an_analysts_own_table_hides_nothing_and_opens_nothing(service: ChdbService, empty_database: Database) -> None:
    names = {"events": CSV, "processes": CSV}
    given = {f"{name}_{key}": value for name in names for key, value in (("types", "UInt8,String"), ("format", "CSV"))}
    own = ask(service, "analyst", "SELECT count() FROM events", names, database=empty_database.name, **given)
    real = f"SELECT count() FROM {empty_database.name}.events"
    assert (own.status_code, own.text) in ((200, "2\n"), (200, "0\n"))
    assert ask(service, "analyst", real, names, **given).text == "0\n"
    assert ask(service, "analyst", "SELECT * FROM system.processes", names, **given).status_code == 403


def table(structure: str, rows_format: str = "CSV") -> External:
    return External("ext", structure, rows_format, b"")


@pytest.mark.parametrize(
    "structure",
    [
        "a UInt8",
        "`a b` String, c Nullable(DateTime64(3, 'Europe/Berlin'))",
        "a Array(Tuple(UInt8, String)), b Map(LowCardinality(String), Array(Decimal(38, 9)))",
        "a Tuple(x UInt8, y Tuple(z String)), b Enum8('a' = -1, 'b' = 2), c FixedString(3)",
        "a DateTime('UTC')",
    ],
)
def test_plain_structures_are_an_analysts(structure: str) -> None:
    assert for_reader(table(structure)).structure == structure


@pytest.mark.parametrize(
    "structure",
    [
        "a String DEFAULT file('/etc/passwd')",
        "a String MATERIALIZED 1",
        "a String ALIAS hostName()",
        "a String EPHEMERAL",
        "a DEFAULT 1",
        "a String CODEC(NONE)",
        "a String TTL now()",
        "a String COMMENT 'x'",
        "a AggregateFunction(sum, UInt8)",
        "a SimpleAggregateFunction(sum, UInt8)",
        "a Array(AggregateFunction(sum, UInt8))",
        "a JSON",
        "a Dynamic",
        "a Object('json')",
        "a Nested(b UInt8)",
        "a DateTime(file('x'))",
        "a DateTime64(1 + 1)",
        "a FixedString((SELECT 1))",
        "a UInt8) ENGINE = File(CSV",
        "a UInt8, INDEX i a TYPE minmax",
        "a UInt8, CONSTRAINT c CHECK file('x')",
        "a UInt8 -- x",
        "a UInt8 /* x */",
        "a UInt8;",
        "a Enum8('a\\' = 1)",
        "a " + "Array(" * 20 + "UInt8" + ")" * 20,
        "a UInt8, ",
        "a",
        "",
        ", ".join(f"a{n} UInt8" for n in range(300)),
    ],
)
def test_a_structure_that_computes_is_refused(structure: str) -> None:
    with pytest.raises(ServiceError) as raised:
        for_reader(table(structure))
    assert raised.value.code == 497


@pytest.mark.parametrize("rows_format", ["Values", "Native", "Template", "Protobuf", "MySQLDump", "Parquet", "Regexp"])
def test_formats_that_are_more_than_values_are_not_an_analysts(rows_format: str) -> None:
    with pytest.raises(ServiceError) as raised:
        for_reader(table("a UInt8", rows_format))
    assert raised.value.code == 497


def test_a_file_is_no_default_of_a_column(service: ChdbService) -> None:
    """The engine would compute it: this is what the check of structures is for."""
    folder = service.data_dir / "clickhouse"
    (folder / "default.csv").write_text("hush-hush\n")
    structure = f"id UInt8, name String DEFAULT file('{folder}/default.csv')"
    found = ask(service, "analyst", "SELECT * FROM ext", {"ext": b"1,\n"}, ext_structure=structure)
    assert found.status_code == 403
    assert "hush-hush" not in found.text
