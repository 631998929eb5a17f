"""The report of a run: one HTML file that needs nothing but itself."""

import base64
import inspect
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import ChainableUndefined, Environment, FileSystemLoader

from sim.analysis.duels import GROUP
from sim.priority_headline import priority_headline
from sim.shown import decimals, percent, shown

MOST_ROWS = 200
MOST_SVG_BYTES = 2_000_000  # beyond this the PNG is the smaller page
UNREAD = ("unparsed", "refused", "error")

# Units stand in the header; where a column mixes measures, the measure's name carries the unit.
HEADERS = {
    "target": "target (°)",
    "angle": "angle (°)",
    "perfect_low": "perfect low (°)",
    "perfect_high": "perfect high (°)",
    "mean_self": "mean own payoff (points)",
    "mean_other": "mean others' payoff (points)",
    "unread": "unread (share)",
    "left_out": "without score (share)",
    "n": "n (agents)",
    "n_distinct": "n distinct",
    "n_unscored": "unscored (agents)",
    "n_items": "items (answered)",
    "n_unread": "unread (answers)",
    "n_flat": "flat (decisions)",
    "p_holm": "p (Holm)",
}
# Of tables whose units are dilemmas, which tell the context of a choice.
OF_CHOICES = {"n": "n (choices)", "n_distinct": "n distinct (dilemmas)",
              "n_unscored": "unscored (choices)"}  # fmt: skip
IN_DEGREES = {"dose_response": ("estimate", "low", "high", "chance")}


def write_report(
    path: Path,
    *,
    title: str,
    manifest: Mapping[str, Any],
    results: Mapping[str, pl.DataFrame],
    figures: Mapping[str, Path],
    transcripts: Sequence[Mapping[str, Any]],
    sources: Sequence[str],
    unread_limit: float | None,
) -> None:
    """Writes the report of a run to `path`.

    Args:
        path: the HTML file.
        title: headline.
        manifest: content of manifest.json; a key that it lacks is shown as a dash.
        results: analyzer name -> result table.
        figures: analyzer name -> its figure, without suffix (both .svg and .png are tried).
        transcripts: sample conversations: agent_id, turns (kind, role, text).
        sources: where instruments, theories and definitions come from.
        unread_limit: share of unreadable answers, 0..1, that the study declares tolerable.
    """
    page = {
        "title": title,
        "manifest": manifest,
        "agents": ", ".join(manifest.get("agents") or _agents(results)) or None,
        "unread": _unread_share(manifest),
        "unread_limit": unread_limit,
        "warnings": _warnings(manifest, results, unread_limit),
        "headline": (scored := headline(results.get("value_rationality"))),
        "dilemmas": any(set(GROUP) <= set(table.columns) for table in results.values()),
        "priorities": priority_headline(results.get("priority_agreement"))[:MOST_ROWS],
        "n_models": len({row["model"] for row in scored if row["model"]}),
        "figures": [_figure(name, stem) for name, stem in figures.items()],
        "tables": [_table(name, table) for name, table in results.items()],
        "transcripts": transcripts,
        "sources": list(dict.fromkeys(sources)),
    }
    path.write_text(render(page), encoding="utf-8")


def render(page: Mapping[str, Any]) -> str:
    """HTML of `page`. All text is escaped, and what could reorder or hide text is spelt out."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=ChainableUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "decimals": decimals}
    return environment.get_template("report.html").render(page)


def headline(table: pl.DataFrame | None) -> list[dict[str, Any]]:
    """Rows of the first table: VR beside VRc by group and value, or choices without an angle.

    By instrument, controls last, highest target first.
    """
    if table is None or not table.height:
        return []
    keys = ["instrument", "model", "agent", "method", "value", "target", "control"]
    rows = []
    angled = table.filter(measure="vr")["instrument"].unique().implode()
    rest = table.filter(~pl.col("instrument").is_in(angled))
    for part, raw, corrected in ((table, "vr", "vrc"), (rest, "choice_vr", "choice_vrc")):
        partners = part.filter(measure=corrected).unique(keys, keep="first")
        both = part.filter(measure=raw).join(
            partners.select(*keys, "estimate", "low", "high"),
            on=keys,
            how="left",
            suffix="_corrected",
            nulls_equal=True,
            maintain_order="left",
        )
        rows += both.iter_rows(named=True)
    rows.sort(
        key=lambda row: (
            row["instrument"],
            row["control"],
            *(row[name] or "" for name in ("model", "agent", "method")),
            -(row["target"] or 0.0),  # null where members of one value have several
        )
    )
    return rows[:MOST_ROWS]


def caption(analyzer: str) -> str:
    """How to read an analyzer's figure: the docstring of its function in `sim.plots`."""
    module = f"sim.plots.{analyzer}"
    if not analyzer.isidentifier() or find_spec(module) is None:
        return ""
    text = inspect.getdoc(getattr(import_module(module), analyzer)) or ""
    return " ".join(text.split("\n\nArgs:")[0].split("\n\nReturns:")[0].split())


def _figure(analyzer: str, stem: Path) -> dict[str, str]:
    svg, png = Path(f"{stem}.svg"), Path(f"{stem}.png")
    small = svg.exists() and svg.stat().st_size <= MOST_SVG_BYTES
    file, kind = (svg, "image/svg+xml") if small or not png.exists() else (png, "image/png")
    # As an image, not inline: two SVGs in one page would share element ids.
    data = f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"
    return {"name": analyzer, "data": data, "caption": caption(analyzer)}


def _table(analyzer: str, table: pl.DataFrame) -> dict[str, Any]:
    degrees = IN_DEGREES.get(analyzer, ())
    of_choices = {"context_mode", "wording"} <= set(table.columns)
    headers = HEADERS | (OF_CHOICES if of_choices else {})
    names = [
        f"{name} (°)" if name in degrees else headers.get(name, name) for name in table.columns
    ]
    return {
        "name": analyzer,
        "headers": [name.replace("_", " ") for name in names],
        "numeric": [kind.is_numeric() for kind in table.dtypes],
        "rows": table.head(MOST_ROWS).rows(),
        "n_rows": table.height,
    }


def _agents(results: Mapping[str, pl.DataFrame]) -> list[str]:
    kinds = {
        kind
        for table in results.values()
        if "agent" in table.columns
        for kind in table["agent"].drop_nulls().unique()
    }
    return sorted(kinds)


def _unread_share(manifest: Mapping[str, Any]) -> float | None:
    counts = manifest.get("counts") or {}
    total = sum(counts.values())
    return sum(counts.get(status, 0) for status in UNREAD) / total if total else None


def _warnings(
    manifest: Mapping[str, Any], results: Mapping[str, pl.DataFrame], limit: float | None
) -> list[str]:
    found = []
    status = manifest.get("status")
    if status != "complete":
        found.append(
            f"This run is not complete (status: {status or 'unknown'}). Its numbers describe a "
            "part of the study and may be biased: what finished first is no random sample."
        )
    if limit is None:
        return found
    share = _unread_share(manifest)
    if share is not None and share > limit:
        found.append(
            f"{percent(share)} of all answers could not be read; the study's limit is "
            f"{percent(limit)}. They are left out of every number below."
        )
    found += _lost_choices(results, limit)
    table = results.get("value_rationality")
    lost = ("left_out", "of the answer sheets without score", ["vr"])
    for column, what, measures in (("unread", "unread", ["vr", "choice_vr"]), lost):
        if table is None or column not in table.columns:
            continue
        names = ["instrument", "model", "agent", "method"]
        over = table.filter(pl.col(column) > limit, pl.col("measure").is_in(measures))
        over = over.select(*names, column).sort(column, *names)
        for *name, share in over.unique(names, keep="last", maintain_order=True).rows():
            group = " · ".join(dict.fromkeys(part for part in name if part))
            found.append(f"{group}: {percent(share)} {what}, limit {percent(limit)}.")
    return found


def _lost_choices(results: Mapping[str, pl.DataFrame], limit: float) -> list[str]:
    """Groups of a study of dilemmas of whose decisions more than the limit count nowhere."""
    for table in results.values():
        if {*GROUP, "left_out"} <= set(table.columns):
            names = ["agent", "value", "context_mode", "wording"]
            over = table.filter(pl.col("left_out") > limit).group_by(names, maintain_order=True)
            lost = over.agg(pl.col("left_out").max())
            return [
                f"{' · '.join(part or 'control' for part in group)}: {percent(share)} of the "
                f"decisions unread or behind an unread one, limit {percent(limit)}."
                for *group, share in lost.iter_rows()
            ]
    return []
