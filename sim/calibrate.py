"""Do the analyzers find what was planted? `python -m sim.calibrate` prints the tables.

Scripted agents of known utility play; the analyzers are given nothing but their choices. Takes
some minutes.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.progress import track
from rich.table import Table

from sim.analysis import human
from sim.analysis.association import associated, kappa, kappa_bounds, pearson, ranks
from sim.analysis.dose_response import line, line_bounds
from sim.analysis.drift import within_slope
from sim.analysis.intervals import wilson
from sim.analysis.jackknife import bounds, correlation_bounds
from sim.analysis.order_effects import order_effects
from sim.analysis.prompt_sensitivity import SOURCES, jackknife
from sim.analysis.revealed_angle import revealed_angle
from sim.analysis.scores import cell
from sim.analysis.slider import category
from sim.analysis.svo_scores import svo_scores
from sim.configs import compose
from sim.run import play
from sim.setup import build
from sim.tables import Tables, load

ANGLES, BETAS = (-45, 0, 45, 90), (0.1, 0.3)
GENERATED = ("env=svo_generated", "env.n_blocks=10", "env.option_order=canonical")
SLIDER = ("env=svo_slider_full",)


def only(**counts: int) -> str:
    """Override for a population of these members and no others."""
    names = ("altruistic", "prosocial", "individualistic", "competitive", "control")
    told = ", ".join(f"{name}: {counts.get(name, 0)}" for name in names)
    return f"population.counts={{{told}}}"


def simulate(*overrides: str, seed: int = 0) -> Tables:
    """Tables of a study of scripted agents."""
    config = compose("experiment=scripted_baselines", "display=false", f"seed={seed}", *overrides)
    with tempfile.TemporaryDirectory() as folder:
        play(build(config), Path(folder), False, False)
        tables = load(folder)
        decisions, turns = tables.decisions.collect().lazy(), tables.turns.collect().lazy()
    return Tables(decisions, turns, tables.items, tables.agents)


def coverage(env: tuple[str, ...], n: int, seed: int) -> Iterator[dict[str, float]]:
    """By angle and beta: how often the profile interval covers the truth, and what is undecided.

    Args:
        env: overrides that choose the items; all of them count together.
        n: agents for each angle and beta.
        seed: of the run.
    """
    for beta in BETAS:
        tables = simulate(
            "agent=softmax", f"agent.softmax.temperature={1 / beta}", "population=angles",
            f"population.targets=[{','.join(map(str, ANGLES))}]", f"population.n_each={n}",
            *env, seed=seed,
        )  # fmt: skip
        rows = revealed_angle(tables, 0).filter(row="agent")
        if rows["instrument"].n_unique() > 1:
            rows = rows.filter(pl.col("instrument").is_null())
        for (angle,), part in rows.sort("target").group_by("target", maintain_order=True):
            low, high = part["low"].to_numpy(), part["high"].to_numpy()
            inside = ((float(angle) - low) % 360) <= high - low  # type: ignore[arg-type]
            error = (part["estimate"].to_numpy() - float(angle) + 180) % 360 - 180  # type: ignore
            yield {
                "angle": float(angle),  # type: ignore[arg-type]
                "beta": beta,
                "n": len(part),
                "covered": float(inside.mean()),
                "separable": float(part["separable"].mean()),  # type: ignore[arg-type]
                "null": part["estimate"].null_count() / len(part),
                "whole": float(part["whole_circle"].mean()),  # type: ignore[arg-type]
                "width": float(np.median(high - low)),
                "bias": float(np.nanmean(error)),
            }


def _coverage_table(title: str, env: tuple[str, ...], n: int, seed: int) -> Table:
    table = Table(title=title, caption="95 % profile intervals; null: b = 0 is not rejected")
    for name in ("angle", "beta, 1/points", "agents", "covers the truth", "separable", "null",
                 "whole circle", "median width", "mean error"):  # fmt: skip
        table.add_column(name, justify="right")
    rows = list(coverage(env, n, seed))
    for r in rows:
        table.add_row(
            f"{r['angle']:g}°", f"{r['beta']:g}", f"{r['n']:,}", f"{r['covered']:.1%}",
            f"{r['separable']:.1%}", f"{r['null']:.1%}", f"{r['whole']:.1%}",
            f"{r['width']:.1f}°", f"{r['bias']:+.2f}°",
        )  # fmt: skip
    whole = sum(r["n"] for r in rows)
    mean = {k: sum(r[k] * r["n"] for r in rows) / whole for k in ("covered", "separable", "null")}
    table.add_section()
    table.add_row(
        "pooled", "", f"{whole:,}", f"{mean['covered']:.1%}", f"{mean['separable']:.1%}",
        f"{mean['null']:.1%}",
    )  # fmt: skip
    return table


def people(n: int, seed: int) -> tuple[np.ndarray, dict[str, float]]:
    """Angles of `n` agents of `agents.human`, and the shares of their categories."""
    tables = simulate(
        "env=svo_slider", "agent=human", "population=counts",
        only(control=n), seed=seed,
    )  # fmt: skip
    angles = svo_scores(tables)["angle"].to_numpy()
    kinds = category(angles)
    return angles, {name: float((kinds == name).mean()) for name in human.CATEGORY}


def _people_table(n: int, seed: int) -> Table:
    angles, shares = people(n, seed)
    table = Table(title=f"People's answer patterns through the slider, {n:,} agents")
    for name in ("", "drawn", "95 %", "people"):
        table.add_column(name, justify="right" if name else "left")
    for q in (5, 25, 50, 75, 95):
        at = human.percentiles()[q]
        table.add_row(f"{q} % quantile", f"{np.quantile(angles, q / 100):.2f}°", "", f"{at:.2f}°")
    error = 1.96 * angles.std() / np.sqrt(n)
    bounds = f"{angles.mean() - error:.2f}..{angles.mean() + error:.2f}"
    table.add_row("mean", f"{angles.mean():.2f}°", bounds, f"{human.MEAN:.2f}°")
    for name, share in shares.items():
        low, high = wilson(share * n, n)
        table.add_row(name, f"{share:.1%}", f"{low:.1%}..{high:.1%}", f"{human.CATEGORY[name]:.1%}")
    return table


def order_studies(bias: float, n: int, seed: int) -> pl.DataFrame:
    """`order_effects` of `n` studies of 24 agents with a planted position bias, a row for each."""
    rows = []
    for k in track(range(n), f"position bias {bias:g}", console=Console(stderr=True)):
        tables = simulate(
            "env=svo_slider", "env.option_order=either", "agent=first_shown",
            f"agent.first_shown.bias={bias}", "population=counts",
            only(prosocial=24), "n_repeats=4", seed=seed + k,
        )  # fmt: skip
        found = order_effects(tables, 0).filter(pl.col("measure").is_in(list(ORDER)))
        rows.append(found.with_columns(study=pl.lit(k)))
    return pl.concat(rows)


ORDER = ("position_bias", "order_effect")


def _order_table(n: int, seed: int) -> Table:
    table = Table(title=f"Order effects: {n} studies of 24 agents, 4 repeats of the slider")
    for name in ("planted bias", "measure", "mean", "interval covers it", "interval without 0"):
        table.add_column(name, justify="right")
    for bias in (0.3, 0.0):
        found = order_studies(bias, n, seed)
        for measure in ORDER:
            part = found.filter(measure=measure)
            covers = (part["low"] <= bias) & (bias <= part["high"])
            alarm = (part["low"] > 0) | (part["high"] < 0)
            known = measure == "position_bias" or bias == 0
            table.add_row(
                f"{bias:g}", measure, f"{part['estimate'].mean():.4f}",
                f"{covers.mean():.1%}" if known else "", f"{alarm.mean():.1%}",
            )  # fmt: skip
    return table


PLANTED = {"orientation": 12.0, "method": 4.0, "wording": 3.0, "order": 1.0}  # degrees, SD
AGENT, REPEAT = 5.0, 8.0  # degrees, SD between agents of one condition, and between their repeats


def sensitivity_studies(n: int, seed: int) -> pl.DataFrame:
    """Prompt sensitivity of `n` studies with planted effects, a row for each source of each.

    96 agents: four orientations, two methods with three wordings each, four agents in each cell;
    each has two sheets in each of two orders. Effects of levels are fixed and have the planted
    spread; noise between agents of one cell and between sheets is normal. The truth is the
    effects' variance in the whole. Noise between agents ends up in `repeat` for the most part, and
    makes the factors that vary between agents a little too large, by (levels - 1) / agents of it.
    """
    orientation, method, wording, _, order, _ = np.indices((4, 2, 3, 4, 2, 2)).reshape(6, -1)
    agent = np.arange(96).repeat(4)
    codes = {"orientation": orientation, "method": method, "wording": method * 3 + wording,
             "order": order}  # fmt: skip
    rng = np.random.default_rng(seed)
    spread = {f: _centred(rng, c, codes["method"] if f == "wording" else None) * PLANTED[f]
              for f, c in codes.items()}  # fmt: skip
    mean = np.sum(list(spread.values()), axis=0)
    whole = float(mean.var()) + AGENT**2 + REPEAT**2
    rows = []
    for _ in track(range(n), "prompt sensitivity", console=Console(stderr=True)):
        y = mean + rng.normal(0, AGENT, 96)[agent] + rng.normal(0, REPEAT, len(agent))
        estimate, half = jackknife(y, codes, agent)
        for source, size in zip(SOURCES, half.tolist(), strict=True):
            if source in spread:
                truth = float(spread[source].var()) / whole
                rows.append(
                    (source, truth, estimate[source], abs(estimate[source] - truth) <= size)
                )
    return pl.DataFrame(rows, ["source", "truth", "estimate", "covered"], orient="row")


def _centred(rng: np.random.Generator, code: np.ndarray, within: np.ndarray | None) -> np.ndarray:
    """An effect of each level, of mean 0 (within those of another factor) and SD 1."""
    x = rng.normal(size=code.max() + 1)[code]
    groups = np.zeros(len(x), int) if within is None else within
    x = x - (np.bincount(groups, x) / np.bincount(groups))[groups]
    return x / x.std()


def _sensitivity_table(n: int, seed: int) -> Table:
    table = Table(title=f"Prompt sensitivity: {n} studies of 96 agents, 4 sheets each")
    for name in ("source", "planted share", "mean", "interval covers it"):
        table.add_column(name, justify="right")
    found = sensitivity_studies(n, seed)
    for (source,), part in found.group_by("source", maintain_order=True):
        table.add_row(
            str(source), f"{part['truth'][0]:.4f}", f"{part['estimate'].mean():.4f}",
            f"{part['covered'].mean():.1%}",
        )  # fmt: skip
    return table


FEW = (5, 12, 20, 40)  # agents, below the number from which on the bootstrap is used
SLOPE, RHO = 0.8, 0.6  # planted


def few_studies(n_agents: int, n: int, seed: int) -> pl.DataFrame:
    """Intervals of few units in `n` studies of `n_agents`, a row for each measure of each.

    Two normal scores of correlation 0.6, of which one is a line of slope 0.8 on the other; three
    categories that agree beyond chance in 0.4 of agents; and no drift over 18 items of unequal
    ease in orders of their own. Rank correlation is that of the normal distribution.
    """
    rng, rows, unit = np.random.default_rng([seed, n_agents]), [], np.arange(n_agents)
    sd = SLOPE * np.sqrt(1 / RHO**2 - 1)
    truths = {"slope": SLOPE, "r2": RHO**2, "pearson": RHO}
    truths |= {"spearman": 6 / np.pi * np.arcsin(RHO / 2), "kappa": 0.4, "drift": 0.0}
    for _ in track(range(n), f"{n_agents} agents", console=Console(stderr=True)):
        x = rng.normal(size=n_agents)
        y = SLOPE * x + rng.normal(0, sd, n_agents)
        both = np.stack([x, y], axis=1)
        kinds = rng.integers(3, size=(n_agents, 2))
        kinds[:, 1] = np.where(rng.random(n_agents) < 0.4, kinds[:, 0], kinds[:, 1])
        slope, r2 = line_bounds(x, y, unit, rng)
        found = {
            "slope": (line(x, y)[0], *slope[:2]),
            "r2": (line(x, y)[1], *r2[:2]),
            "drift": _no_drift(n_agents, rng),
        }
        for measure, score, by in (
            ("pearson", lambda at, b=both: pearson(b[at]), correlation_bounds),
            ("spearman", lambda at, b=both: pearson(ranks(b[at])), correlation_bounds),
            ("kappa", lambda at, k=kinds: kappa(k[at]), kappa_bounds),
        ):
            one = associated(unit, unit, score, rng, by)
            found[measure] = (one["estimate"], one["low"], one["high"])
        rows += [(m, truths[m], *map(cell, ends)) for m, ends in found.items()]
    names = ["measure", "truth", "estimate", "low", "high"]
    return pl.DataFrame(rows, names, orient="row", infer_schema_length=None)


def _no_drift(n_agents: int, rng: np.random.Generator) -> tuple[float, float, float]:
    """Slope and interval of agents who do not drift, over 18 items."""
    agent, item = np.indices((n_agents, 18)).reshape(2, -1)
    step = rng.random((n_agents, 18)).argsort(1).ravel().astype(float)
    ease, level = rng.normal(size=18), rng.normal(size=n_agents)
    y = ease[item] + level[agent] + rng.normal(size=len(item))
    slope, without, _ = within_slope(step, y, item, agent, agent)
    return slope, *bounds(slope, without)[:2]


def _few_table(n: int, seed: int) -> Table:
    table = Table(title=f"Intervals of few agents: {n:,} studies each")
    for name in ("agents", "measure", "truth", "mean", "no interval", "intervals that cover it"):
        table.add_column(name, justify="right")
    for n_agents in FEW:
        for (measure,), part in few_studies(n_agents, n, seed).group_by(
            "measure", maintain_order=True
        ):
            known = part.drop_nulls("low")
            covers = (known["low"] <= known["truth"]) & (known["truth"] <= known["high"])
            table.add_row(
                str(n_agents), str(measure), f"{part['truth'][0]:.3f}",
                f"{part['estimate'].mean():.3f}", f"{1 - len(known) / len(part):.1%}",
                f"{covers.mean():.1%}",
            )  # fmt: skip
        table.add_section()
    return table


def main() -> int:
    """Prints the tables; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m sim.calibrate", description=__doc__)
    parser.add_argument("--agents", type=int, default=1000, help="for each angle and beta")
    parser.add_argument("--studies", type=int, default=500, help="with and without position bias")
    parser.add_argument("--few", type=int, default=2000, help="studies of few agents")
    parser.add_argument("--people", type=int, default=5000, help="answer patterns drawn")
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args()
    console = Console()
    items = "60 generated items"
    console.print(_coverage_table(f"Revealed angle, {items}", GENERATED, told.agents, told.seed))
    items = "the 15 items of the slider"
    console.print(_coverage_table(f"Revealed angle, {items}", SLIDER, told.agents, told.seed))
    console.print(_people_table(told.people, told.seed))
    console.print(_order_table(told.studies, told.seed))
    console.print(_sensitivity_table(told.studies, told.seed))
    console.print(_few_table(told.few, told.seed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
