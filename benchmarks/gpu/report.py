"""The results as text: a line as each network is measured, kernels, and the table at the end."""

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.gpu.lane import DONE, FAILED, SKIPPED, UNAVAILABLE
from benchmarks.gpu.plan import OURS

Row = dict[str, Any]
"""One network in one part, with all its results."""


def title(machine: Row | None) -> str:
    """Describe card, driver, versions and date."""
    if machine is None:
        return "a machine that is not known"
    versions, card = machine["versions"], machine["card"]
    device = machine["processor"] if machine["devices"]["platform"] == "cpu" else machine["devices"]["kind"]
    name = f"{card['name']}, driver {card['driver']}, {card['memory']}, {card['power']}" if card else device
    torch = f", torch {versions['torch']}" if versions.get("torch") else ""
    return f"{name}; {machine['cores']} cores; {machine['time'][:10]}; jax {versions['jax']}{torch}"


def line(row: Row, seconds: float) -> str:
    """Format what has become of a row, `seconds` after the start."""
    facts = [row["status"]] if row["status"] != DONE else []
    if "seconds" in row:
        facts.append(f"{row['seconds'] * 1e3:.2f} ms, {row['images_a_second']:.1f} images/s")
    if "compile_seconds" in row:
        facts.append(f"compiled in {row['compile_seconds']:.0f} s")
    if "errors" in row:
        facts.append("errors: " + ", ".join(f"{name} {value:.2g}" for name, value in row["errors"].items()))
    if "teraflops" in row:
        facts.append(rates(row))
    facts += [row[key] for key in ("problem", "message") if key in row]
    return f"[{seconds:4.0f} s] {row['part']}, {row['network']}: {'; '.join(facts)}"


def rates(row: Row) -> str:
    """Format the machine's rates of plain products and copies."""
    products = ", ".join(f"{name} {rate:.3g}" for name, rate in row.get("teraflops", {}).items())
    return f"plain matrix products, TFLOP/s: {products}; copies: {row.get('terabytes_copied', 0):.2f} TB/s"


def profile(row: Row) -> str:
    """Format the largest kernels of a row."""
    found = row["profile"]
    busy = found["seconds"] / row["alone"]
    whole = f"{found['kernels']:.0f} kernels take {found['seconds'] * 1e3:.2f} ms, {busy:.0%} of a run alone"
    lines = [
        f"{row['part']}: {whole}",
        "       ms   roofline   share  calls",
    ]
    for kernel in found["largest"]:
        share = kernel["seconds"] / found["seconds"]
        least = kernel.get("roofline_seconds")
        against = f"{least * 1e3:11.3f}" if least is not None else ""
        name = (
            kernel["name"]
            if kernel["operation"] in ("", kernel["name"])
            else f"{kernel['operation']}: {kernel['name']}"
        )
        lines.append(f"{kernel['seconds'] * 1e3:9.3f}{against:11} {share:7.1%} {kernel['calls']:6.0f}  {name[:80]}")
    return "\n".join(lines)


def table(rows: Sequence[Row]) -> str:
    """Format all rows that were measured; "x ours" is how many times as long as ours a network takes."""
    measured = [row for row in rows if "seconds" in row]
    heading = "".join(f"{name:>{width}}" for name, width, *_ in _COLUMNS)
    lines = [f"{'part':24}{'network':25}{heading}"]
    for row in measured:
        same = [other for other in measured if other["part"] == row["part"] and other["network"] == OURS]
        cells = row | {"ratio": row["seconds"] / same[0]["seconds"] if same else None}
        values = "".join(_cell(value(cells), width, form) for _, width, form, value in _COLUMNS)
        lines.append(f"{row['part']:24}{row['network']:25}{values}")
    return "\n".join(lines)


def _of(name: str, factor: float = 1.0) -> Callable[[Row], float | None]:
    return lambda row: row[name] * factor if row.get(name) is not None else None


_COLUMNS: tuple[tuple[str, int, str, Callable[[Row], float | None]], ...] = (
    ("ms", 9, ".2f", _of("seconds", 1e3)),
    ("alone", 9, ".2f", _of("alone", 1e3)),
    ("images/s", 10, ".1f", _of("images_a_second")),
    ("x ours", 8, ".2f", _of("ratio")),
    ("TFLOP/s", 9, ".3g", lambda row: row["gflop"] / row["seconds"] / 1e3 if "gflop" in row else None),
    ("roofline", 10, ".2f", lambda row: row["roofline"]["seconds"] * 1e3 if "roofline" in row else None),
    ("peak GB", 9, ".2f", _of("peak", 1e-9)),
    ("compile", 9, ".0f", _of("compile_seconds")),
    ("heatmaps", 10, ".1e", lambda row: row.get("errors", {}).get("heatmaps")),
    ("scores", 10, ".1e", lambda row: row.get("errors", {}).get("scores")),
)
"""Heading, width, format and value of each column: milliseconds, gigabytes, seconds, largest absolute errors."""


def _cell(value: float | None, width: int, form: str) -> str:
    return f"{'' if value is None else format(value, form):>{width}}"


def failed(rows: Sequence[Row]) -> list[str]:
    """Name what failed, or is wrong, with the reason."""
    names = [f"{row['part']}, {row['network']}" for row in rows]
    reasons = [row.get("problem") or (row.get("message") if row["status"] == FAILED else None) for row in rows]
    return [f"{name}: {reason}" for name, reason in zip(names, reasons, strict=True) if reason]


def left_out(rows: Sequence[Row]) -> list[str]:
    """Name what was not measured, and why: no time, or something is missing on this machine."""
    return [
        f"{row['part']}, {row['network']}: {row['message']}" for row in rows if row["status"] in (SKIPPED, UNAVAILABLE)
    ]
