"""Users, grants and row policies of organisations' analysts on a ClickHouse server, as statements."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

# Every table with an organisation's rows; views read them with the rights of whoever asks.
TABLES: Final = ("events", "kpi_windows", "decisions", "dead_letters", "campaigns", "corrections")
_POLICY: Final = "CREATE ROW POLICY OR REPLACE"


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _name(text: str) -> str:
    return "`" + text.replace("\\", "\\\\").replace("`", "\\`") + "`"


def grants(database: str, analysts: Sequence[tuple[str, str, str]]) -> list[str]:
    """Statements that may be run again: each (name, password, organisation) sees the rows of its organisation, and
    everybody else what was granted to him. Of a password only its SHA-256 is there.

    >>> [line.split(" ON ")[0] for line in grants("penstock", [("ann", "pw", "one")])][1:3]
    ['GRANT SELECT', 'CREATE ROW POLICY OR REPLACE `penstock_ann`']
    """
    places = ", ".join(f"{_name(database)}.{_name(table)}" for table in TABLES)
    said: list[str] = []
    for name, password, organisation in analysts:
        digest = hashlib.sha256(password.encode()).hexdigest()
        limits = "SETTINGS readonly = 1, max_execution_time = 60"
        said.append(f"CREATE USER OR REPLACE {_name(name)} IDENTIFIED WITH sha256_hash BY '{digest}' {limits}")
        said.append(f"GRANT SELECT ON {_name(database)}.* TO {_name(name)}")
        condition = f"FOR SELECT USING org_id = {_literal(organisation)} TO {_name(name)}"
        said.append(f"{_POLICY} {_name(f'penstock_{name}')} ON {places} {condition}")
    if analysts:
        # Without it, a table with a policy for some would be empty for the others on older servers.
        names = ", ".join(_name(name) for name, _, _ in analysts)
        said.append(f"{_POLICY} `penstock_others` ON {places} FOR SELECT USING 1 TO ALL EXCEPT {names}")
    return said
