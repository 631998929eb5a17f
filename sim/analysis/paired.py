"""Tests of paired answers.

Exact ones (McNemar, Cochran) take pairs for independent; the cluster-robust ones do not: answers to
one dilemma are alike, so that dilemmas are what is resampled.
"""

import math
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.special import bdtr, chdtrc, fdtrc, stdtr, stdtrit

from sim.analysis.intervals import FEWEST, LEVEL, holm
from sim.analysis.scores import cell

_ROUNDING = 1e-12


def mcnemar(b: int, c: int) -> float:
    """Two-sided p of "discordant pairs, b and c, are as likely to be of either kind"; 1 of none.

    McNemar (1947), Psychometrika 12, 153-157, exact: the binomial sign test.
    """
    return float(min(1.0, 2 * bdtr(min(b, c), b + c, 0.5)))


def cochran_q(x: np.ndarray, n: np.ndarray) -> tuple[float, int, float]:
    """Cochran's Q of k related answers: statistic, degrees of freedom, p of chi squared.

    Cochran (1950), Biometrika 37, 256-266. Answers may be shares (of repeats): Q is (k - 1) times
    the spread of column sums over the spread within rows, which of binary ones is Cochran's.

    Args:
        x: (rows, k) answers, 0..1.
        n: (rows,) how often each row stands.

    Returns:
        NaN, k - 1, NaN where no row differs within itself.
    """
    k = x.shape[1]
    within = float((n[:, None] * (x - x.mean(1, keepdims=True)) ** 2).sum())
    if not within > 0:
        return np.nan, k - 1, np.nan
    totals = n @ x
    q = float((k - 1) * ((totals - totals.mean()) ** 2).sum() / within)
    return q, k - 1, float(chdtrc(k - 1, q))


@dataclass(frozen=True)
class Clustered:
    """A number with its 95 % t interval over G clusters (G - 1 degrees of freedom).

    NaN without clusters; no error below two, no interval and p below five or without spread.
    """

    estimate: float
    error: float
    n_clusters: int

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return self.n_clusters >= FEWEST and self.error > 0

    def interval(self, least: float = -1.0, most: float = 1.0) -> dict[str, float | str | None]:
        """Columns low, high (within what is possible) and interval."""
        if not self.known:
            return {"low": None, "high": None, "interval": None}
        half = float(stdtrit(self.n_clusters - 1, (1 + LEVEL) / 2)) * self.error
        low, high = max(self.estimate - half, least), min(self.estimate + half, most)
        return {"low": low, "high": high, "interval": "t"}

    def columns(
        self, least: float = -1.0, most: float = 1.0
    ) -> dict[str, float | str | int | None]:
        """Columns estimate, low, high, interval and n_distinct."""
        found = {"estimate": cell(self.estimate), "n_distinct": self.n_clusters}
        return found | self.interval(least, most)

    @property
    def p(self) -> float | None:
        """Two-sided p of "it is 0", dual to the interval; None without one."""
        if not self.known:
            return None
        return float(2 * stdtr(self.n_clusters - 1, -abs(self.estimate / self.error)))


def ratio(sums: np.ndarray, sizes: np.ndarray) -> Clustered:
    """Sum over clusters of `sums` (G,) by that of `sizes` (G,), linearised (Cochran 1977, 6.3)."""
    pull, estimate = _pull(sums, sizes)
    return _clustered(estimate, pull, sizes > 0)


def contrast(
    second: tuple[np.ndarray, np.ndarray], first: tuple[np.ndarray, np.ndarray]
) -> Clustered:
    """The second ratio minus the first, (sums, sizes) each, of the same clusters."""
    (pull, a), (away, b) = _pull(*second), _pull(*first)
    return _clustered(a - b, pull - away, (second[1] > 0) | (first[1] > 0))


def _pull(sums: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, float]:
    """What each cluster pulls its ratio by, and the ratio."""
    total = sizes.sum()
    if not total > 0:
        return np.full(len(sizes), np.nan), np.nan
    estimate = float(sums.sum() / total)
    return (sums - estimate * sizes) / total, estimate


def _clustered(estimate: float, pull: np.ndarray, used: np.ndarray) -> Clustered:
    if np.isnan(estimate):
        return Clustered(np.nan, np.nan, 0)
    n = int(used.sum())
    error = float(np.sqrt((pull**2).sum() * n / (n - 1))) if n > 1 else np.nan
    return Clustered(estimate, 0.0 if error <= _ROUNDING else error, n)


def same_shares(sums: np.ndarray, sizes: np.ndarray) -> float | None:
    """P value of "k shares are the same", over clusters: the F form of Hotelling's T squared.

    Args:
        sums: (G, k) of the answers of each cluster's rows.
        sizes: (G,) rows.

    Returns:
        None with fewer than five clusters, fewer than k, or differences that do not vary.
    """
    used = sizes > 0
    apart = (sums[:, 1:] - sums[:, :1])[used]
    n, m = apart.shape
    if n < max(FEWEST, m + 1):
        return None
    mean = apart.sum(0) / sizes.sum()
    pull = (apart - mean * sizes[used, None]) / sizes.sum()
    spread = pull.T @ pull * n / (n - 1)
    if np.linalg.matrix_rank(spread, hermitian=True) < m:
        return None
    f = mean @ np.linalg.solve(spread, mean) * (n - m) / ((n - 1) * m)
    return float(fdtrc(m, n - m, f))


def by_cluster(cluster: np.ndarray, n: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums (G, ...) of `x` (rows, ...), each `n` (rows,) times, NaN left out; sums of their `n`.

    `cluster` (rows,) numbers clusters; all met are kept, in their order, whatever is known of `x`.
    """
    met = np.bincount(cluster) > 0
    known = ~np.isnan(x)
    weight = n.reshape(-1, *[1] * (x.ndim - 1)) * known

    def add(columns: np.ndarray) -> np.ndarray:
        flat = columns.reshape(len(x), math.prod(x.shape[1:]))
        sums = [np.bincount(cluster, column)[met] for column in flat.T]
        return np.stack(sums, axis=-1).reshape(met.sum(), *x.shape[1:])

    return add(weight * np.where(known, x, 0.0)), add(weight)


def corrected(table: pl.DataFrame, column: str, family: list[pl.Expr]) -> pl.DataFrame:
    """Adds `p_holm` of a column of p values, over the rows of each family."""
    p = table[column].cast(pl.Float64).fill_null(np.nan).to_numpy()
    of = table.select(pl.struct(family).rank("dense")).to_series().to_numpy()
    adjusted = np.full(len(p), np.nan)
    for one in np.unique(of):
        adjusted[of == one] = holm(p[of == one])
    return table.with_columns(pl.Series("p_holm", adjusted, pl.Float64).fill_nan(None))
