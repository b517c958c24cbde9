"""The newest results as JSON: for each table its rows, with the date, the machine and its load."""

import datetime
import json
import os
from pathlib import Path
from typing import Any

import machine
from measure import Row

Record = dict[str, Any]


def record(runs: int, rows: list[Row]) -> Record:
    """Returns the rows of a table that was measured now, with all that a reader needs to judge them."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    load = round(os.getloadavg()[1], 1)
    return {"date": today, "runs": runs, "load_average": load, "machine": machine.facts(), "rows": rows}


def read(path: Path) -> dict[str, Record]:
    """Returns the records of a file by the names of their tables; none if there is no file yet."""
    if not path.exists():
        return {}
    records: dict[str, Record] = json.loads(path.read_text(encoding="utf-8"))
    return records


def keep(path: Path, name: str, new: Record) -> None:
    """Puts a record into a file, in place of the former one of this table."""
    records = read(path) | {name: new}
    ordered = {key: records[key] for key in sorted(records)}
    path.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
