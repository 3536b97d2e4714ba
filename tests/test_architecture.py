"""The rules of docs/ARCHITECTURE.md and CONTRIBUTING.md, held by tests whose message is the mend."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = ("schemas", "bidding", "anomaly", "alerts", "ingest", "storage", "control", "platforms", "flows", "api", "cli")
MAY_IMPORT = {
    "schemas": set(),
    "bidding": {"schemas"},
    "anomaly": {"schemas"},
    "alerts": {"schemas"},
    "flows/logic": {"schemas", "bidding", "anomaly", "alerts", "flows.logic"},
    "ingest": {"schemas"},
    "storage": {"schemas"},
    "control": {"schemas"},
    "platforms": {"schemas"},
    "flows": set(OURS) - {"api", "cli"},
    "api": set(OURS) - {"flows", "cli"},
    "cli": set(OURS),
}
PURE = ("schemas", "bidding", "anomaly", "alerts", "flows/logic")
IMPURE_MODULES = {
    "bytewax", "confluent_kafka", "clickhouse_connect", "chdb", "redis", "fastapi", "starlette", "uvicorn",
    "sqlalchemy", "asyncio", "socket", "subprocess", "requests", "httpx", "os", "logging", "time", "random",
    "pathlib", "io", "shutil", "tempfile", "zoneinfo", "tzdata",
}  # fmt: skip
# Reading a clock, or a file.
IMPURE_CALLS = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "open"}
# What is read there cannot differ between two machines that run the same version.
EXCUSED = {
    # Zones of the pinned package, and of nowhere else.
    ("schemas/zones.py", "zoneinfo"),
    # Names compiled code by its sources.
    ("schemas/decode/kernel.py", "pathlib"),
}
SHIPPED = (*OURS, "benchmarks")
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60


def sources(folder: str) -> list[Path]:
    files = [p for p in sorted((ROOT / folder).rglob("*.py")) if "node_modules" not in p.parts]
    if folder == "flows":
        return [p for p in files if "logic" not in p.relative_to(ROOT / "flows").parts]
    return files


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return names


def present(folders: tuple[str, ...] | dict[str, set[str]]) -> list[str]:
    return [folder for folder in folders if (ROOT / folder).is_dir()]


@pytest.mark.parametrize("folder", present(MAY_IMPORT))
def test_a_folder_imports_only_what_the_architecture_allows(folder: str) -> None:
    allowed = MAY_IMPORT[folder]
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources(folder)
        for name in imports(path)
        if name.split(".")[0] in OURS
        and name.split(".")[0] != folder.split("/")[0]
        and name.split(".")[0] not in allowed
    ]
    assert not wrong, f"{folder}/ may import {sorted(allowed)}; move the code or pass the thing as an argument: {wrong}"


def test_the_logic_of_the_dataflow_does_not_import_its_shell() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources("flows/logic")
        for name in imports(path)
        if name.split(".")[0] == "flows" and not name.startswith("flows.logic")
    ]
    assert not wrong, f"flows/logic/ runs without Bytewax; pass what it needs as an argument: {wrong}"


@pytest.mark.parametrize("folder", present(PURE))
def test_pure_folders_have_no_io_clock_or_chance(folder: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources(folder)
        for name in imports(path)
        if name.split(".")[0] in IMPURE_MODULES and (str(path.relative_to(ROOT)), name.split(".")[0]) not in EXCUSED
    ]
    wrong += [
        f"{path.relative_to(ROOT)}:{node.lineno} calls {ast.unparse(node.func)}"
        for path in sources(folder)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ".".join(ast.unparse(node.func).split(".")[-2:]) in IMPURE_CALLS
    ]
    assert not wrong, f"{folder}/ is pure: take time, chance and input as arguments instead: {wrong}"


def test_time_zones_come_from_one_place() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in product()
        for name in imports(path)
        if name.split(".")[0] in ("zoneinfo", "tzdata") and path != ROOT / "schemas/zones.py"
    ]
    assert not wrong, f"take schemas.zones.zone_of: the machine's own zones differ from another's: {wrong}"


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    modules = {module_name(path): path for path in product()}
    ahead = {name: {found for found in imported(path) if found in modules} - {name} for name, path in modules.items()}
    # Whoever imports nothing that is left is in no circle.
    while free := {name for name, others in ahead.items() if not others}:
        ahead = {name: others - free for name, others in ahead.items() if name not in free}
    circles = {name: sorted(others) for name, others in ahead.items()}
    assert not circles, f"move what both need to a module of its own; they are among these: {circles}"


def test_what_names_our_modules_holds_in_a_wheel_too() -> None:
    """There all packages are below `penstock`: imports are renamed by the build, texts cannot be."""
    text = re.compile(rf"({'|'.join(SHIPPED)})(\.[a-z_]+)+")
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.value!r}"
        for path in product()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and text.fullmatch(node.value)
        and is_module(node.value)
    ]
    wrong += [
        f"{path.relative_to(ROOT)}:{node.lineno} import {alias.name}"
        for path in product()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name.split(".")[0] in SHIPPED
    ]
    assert not wrong, f"write __package__, cli.itself, or `from ... import ...`: {wrong}"


def product() -> list[Path]:
    """Every module that a wheel holds."""
    return [path for folder in present(SHIPPED) for path in sorted((ROOT / folder).rglob("*.py"))]


def is_module(name: str) -> bool:
    place = ROOT / Path(*name.split("."))
    return place.is_dir() or place.with_suffix(".py").is_file()


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> set[str]:
    """Modules that a module imports when it runs, at its top or inside a function; not for types alone."""
    tree = ast.parse(path.read_text())
    typing = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and id(node) not in typing]
    named = [(f"{node.module}.{alias.name}", str(node.module)) for node in found for alias in node.names]
    return {name if is_module(name) else module for name, module in named}


def _code() -> list[Path]:
    folders = [*present(tuple(OURS)), "benchmarks", "tests"]
    web = [
        p for suffix in ("ts", "tsx") for p in (ROOT / "live_dashboard").rglob(f"*.{suffix}")
        if "node_modules" not in p.parts and "dist" not in p.parts
    ]  # fmt: skip
    return [p for folder in folders for p in sorted((ROOT / folder).rglob("*.py"))] + web


def test_files_stay_short() -> None:
    long = {str(p.relative_to(ROOT)): n for p in _code() if (n := p.read_text().count("\n")) > FILE_LINES_MAX}
    assert not long, f"over {FILE_LINES_MAX} lines; split by noun: {long}"


def test_functions_stay_short() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name} ({length})"
        for path in _code()
        if path.suffix == ".py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]
    assert not long, f"over {FUNCTION_LINES_MAX} lines; the parent keeps control flow, leaves become functions: {long}"


def test_every_setting_is_documented() -> None:
    from cli.settings import Settings

    documented = set(re.findall(r"`(PENSTOCK_[A-Z_]+)`", (ROOT / "docs/settings.md").read_text()))
    known = {f"PENSTOCK_{name.upper()}" for name in Settings.model_fields}
    assert known <= documented, f"add a row to docs/settings.md for {sorted(known - documented)}"


def test_metrics_are_served_at_the_host_of_the_settings() -> None:
    served = [
        f"{path.name}: {line.strip()}"
        for path in sorted((ROOT / "cli").rglob("*.py"))
        for line in path.read_text().splitlines()
        if "start_http_server(" in line and "addr=settings.host" not in line
    ]
    assert not served, f"give addr=settings.host; the library's default is every address of the machine: {served}"


@pytest.mark.parametrize("folder", ["live_dashboard", "tests/formats/node"])
def test_the_npm_lock_names_no_address(folder: str) -> None:
    lock = json.loads((ROOT / folder / "package-lock.json").read_text())
    addressed = [name for name, package in lock["packages"].items() if "resolved" in package]
    assert not addressed, f"run npm with omit-lockfile-registry-resolved=true: {addressed[:5]}"


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt", "tests/formats/python/requirements.txt"])
def test_requirements_are_pinned_without_addresses(name: str) -> None:
    lines = [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith(("#", "-r "))]
    wrong = [line for line in lines if not re.fullmatch(r"[a-z0-9.\-]+(\[[a-z]+\])?==[0-9][0-9a-z.]*", line)]
    assert not wrong, f"write name==version: {wrong}"


def test_bodies_of_requests_are_read_in_one_place() -> None:
    """Whoever reads a body elsewhere reads it before the key, or without a limit."""
    reading = re.compile(r"request\.(body|json|form|stream|receive)\(|\bBody\(|\bForm\(|\bUploadFile\b")
    wrong = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in sorted((ROOT / "api").rglob("*.py"))
        if path.parent.name != "body"
        for line in path.read_text().splitlines()
        if reading.search(line)
    ]
    assert not wrong, f"call api.body.read_body, or depend on api.body.json_body: {wrong}"
