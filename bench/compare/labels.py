"""``LabelIndex`` against pandas, polars and a scan: the same objects, the same questions, in one run.

    python bench/compare/labels.py [--objects 1000000] [--json FILE]         needs pip install pandas polars

Each object has ten labels. The frames have a column a label key, as categories (their best form for equality), and get
the selector as the expression one would write by hand; what is timed is the question, not the building. All answers
must have the same number of objects, or the run fails. The scan asks the compiled matcher about every label set, as a
program without an index does; it is run on a hundredth of the objects and its time multiplied.

Building is timed too, with the memory that each takes an object (resident set before and after; polars and pandas share
the label texts, the index keeps its own).
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cybernetes.core.labels import LabelIndex, Selector

KEYS = {
    "app": 10_000,
    "tier": 5,
    "env": 4,
    "team": 200,
    "region": 10,
    "zone": 30,
    "version": 50,
    "release": 3,
    "track": 2,
    "owner": 1000,
}
VALUES = {key: [f"{key}-{number}" for number in range(count)] for key, count in KEYS.items()}

SELECTORS = {
    "100 of a million": "app=app-5",
    "100 by two keys": "app=app-5,tier!=tier-1",
    "in and notin": "app in (app-5,app-6,app-7),tier notin (tier-1,tier-2),owner",
    "three medium": "owner=owner-1,team=team-4,zone=zone-3",
    "a half": "env in (env-1,env-2)",
    "broad mix": "env notin (env-1,env-2),tier in (tier-1,tier-0),track=track-0",
}


def label_sets(count: int) -> list[dict[str, str]]:
    draw = random.Random(1)
    return [{key: values[draw.randrange(len(values))] for key, values in VALUES.items()} for _ in range(count)]


def best_us(ask: Callable[[], Any], *, seconds: float = 0.6) -> float:
    """The median of as many calls as fit."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        ask()
        times.append(time.perf_counter() - start)
    times.sort()
    return times[len(times) // 2] * 1e6


def resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def pandas_question(frame: Any, selector: Selector) -> Callable[[], int]:
    """What a user writes: boolean masks, and the positions where all hold."""

    def ask() -> int:
        mask = None
        for key, operator, values in selector.requirements:
            column = frame[key]
            if operator in ("=", "=="):
                one = column == next(iter(values))
            elif operator == "!=":
                one = column != next(iter(values))
            elif operator == "in":
                one = column.isin(list(values))
            elif operator == "notin":
                one = ~column.isin(list(values))
            else:
                one = column.notna()
            mask = one if mask is None else mask & one
        assert mask is not None
        return len(mask.to_numpy().nonzero()[0])

    return ask


def polars_question(frame: Any, selector: Selector) -> Callable[[], int]:
    import polars

    conditions = []
    for key, operator, values in selector.requirements:
        column = polars.col(key)
        if operator in ("=", "=="):
            conditions.append(column == next(iter(values)))
        elif operator == "!=":
            conditions.append(column != next(iter(values)))
        elif operator == "in":
            conditions.append(column.is_in(sorted(values)))
        elif operator == "notin":
            conditions.append(~column.is_in(sorted(values)))
        else:
            conditions.append(column.is_not_null())
    return lambda: len(frame.filter(conditions)["id"])


def main() -> int:
    parser = argparse.ArgumentParser(description="Selectors over many objects: ours, pandas, polars, a scan.")
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    try:
        import pandas
        import polars
    except ImportError as error:
        print(f"{error}: pip install pandas polars", file=sys.stderr)
        return 2
    count = options.objects
    labels = label_sets(count)
    built: dict[str, dict[str, float]] = {}

    def build(name: str, make: Callable[[], Any]) -> Any:
        before, start = resident(), time.perf_counter()
        made = make()
        built[name] = {"seconds": time.perf_counter() - start, "bytes_an_object": (resident() - before) / count}
        return made

    def fill() -> LabelIndex:
        index = LabelIndex()
        for id, each in enumerate(labels):
            index.put(id, each)
        return index

    index = build("ours", fill)
    columns = {key: [each[key] for each in labels] for key in KEYS}
    pandas_frame = build("pandas", lambda: pandas.DataFrame({key: pandas.Categorical(c) for key, c in columns.items()}))
    polars_frame = build(
        "polars",
        lambda: polars.DataFrame(
            {"id": range(count), **{key: polars.Series(c, dtype=polars.Categorical) for key, c in columns.items()}}
        ),
    )
    sample = labels[: max(count // 100, 1)]
    rows = []
    print(f"{count:,} objects with {len(KEYS)} labels; µs a question")
    print(f"{'selector':<20}{'found':>9}{'ours':>12}{'count':>10}{'pandas':>12}{'polars':>12}{'scan':>12}  pandas/ours")
    for name, text in SELECTORS.items():
        selector = Selector.parse(text)
        by_pandas, by_polars = pandas_question(pandas_frame, selector), polars_question(polars_frame, selector)
        found = {len(index.select(selector)), index.count(selector), by_pandas(), by_polars()}
        if len(found) != 1:
            print(f"{name}: the answers differ: {found}", file=sys.stderr)
            return 1
        matches = selector.matches
        row = {
            "selector": text,
            "found": found.pop(),
            "ours_us": best_us(lambda asked=selector: index.select(asked)),  # type: ignore[misc]
            "count_us": best_us(lambda asked=selector: index.count(asked)),  # type: ignore[misc]
            "pandas_us": best_us(by_pandas),
            "polars_us": best_us(by_polars),
            "scan_us": best_us(lambda asked=matches: [e for e in sample if asked(e)]) * count / len(sample),  # type: ignore[misc]
        }
        rows.append(row)
        print(
            f"{name:<20}{row['found']:>9}{row['ours_us']:>12.2f}{row['count_us']:>10.2f}{row['pandas_us']:>12.1f}"
            f"{row['polars_us']:>12.1f}{row['scan_us']:>12.0f}  {row['pandas_us'] / row['ours_us']:.0f}x"
        )
    for name, figures in built.items():
        print(f"{name:<10} built in {figures['seconds']:.2f} s, {figures['bytes_an_object']:.0f} bytes an object")
    print(f"ours by its own count: {index.memory_bytes() / count:.1f} bytes an object")
    changed = {**labels[7], "version": "version-x"}
    put_us = best_us(lambda: (index.put(7, changed), index.put(7, labels[7]))) / 2
    print(f"a change of one label: {put_us:.2f} us, {1e6 / put_us:,.0f} a second")
    if options.json:
        options.json.write_text(json.dumps({"objects": count, "built": built, "questions": rows}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
