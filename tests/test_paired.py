"""Paired choices, path dependence and positions against hand-checked tables and planted truth."""

from dataclasses import replace
from importlib import import_module

import numpy as np
import polars as pl
import pytest
from scipy.special import chdtrc, expit
from scipy.stats import binomtest

from sim.analysis.duels import duels
from sim.analysis.order_effects import position_bias
from sim.analysis.paired import cochran_q, contrast, mcnemar, ratio, same_shares
from sim.analysis.paired_choices import paired_choices
from sim.analysis.path_dependence import path_dependence
from sim.analysis.positions import positions, shown_first
from sim.tables import AGENTS, DECISIONS, ITEMS, TURNS, Tables, load

DILEMMAS = ("env=dilemmas", "theory=moral_foundations", "population=first")
NAMES = ("paired_choices", "path_dependence", "positions")


def analyzer(name):
    return getattr(import_module(f"sim.analysis.{name}"), name)


def tables(rows, n_dilemmas, values=("a", "b"), quits=False):
    """Tables of (member, dilemma, stage, mode, order, repeat, action) of two options a stage."""
    options = [*values, "undecided"] if quits else list(values)
    items = pl.DataFrame(
        [
            dict.fromkeys(ITEMS)
            | {"env": "e", "instrument": "i", "item": f"d{d}/{s}", "option": k, "value": value}
            | {"theory": "t", "stage": s, "cluster": f"d{d}"}
            for d in range(n_dilemmas)
            for s in (1, 2)
            for k, value in enumerate(options)
        ],
        schema=ITEMS,
    )
    sittings = sorted({(m, d, c, str(o), r) for m, d, _, c, o, r, _ in rows})
    decisions = pl.DataFrame(
        [
            dict.fromkeys(DECISIONS)
            | {"episode": sittings.index((m, d, c, str(o), r)), "repeat": r, "agent_id": m}
            | {"seat": "s", "agent": "k", "method": "x", "env": "e", "instrument": "i"}
            | {"item": f"d{d}/{s}", "step": s - 1, "stage": s, "context_mode": c}
            | {"wording": "choose", "option_order": [*o, 2] if quits else o, "action": action}
            | {"status": "refused" if action is None else "ok"}
            for m, d, s, c, o, r, action in rows
        ],
        schema=DECISIONS,
    )
    members = sorted({row[0] for row in rows})
    agents = pl.DataFrame(
        [
            dict.fromkeys(AGENTS) | {"agent_id": m, "member": m, "agent": "k", "method": "x"}
            for m in members
        ],
        schema=AGENTS,
    )
    return Tables(decisions.lazy(), pl.DataFrame(schema=TURNS).lazy(), items, agents)


def test_mcnemar_is_the_binomial_test_of_discordant_pairs():
    # Agresti (2002), approval of the prime minister twice: 150 and 86 changed their mind.
    for b, c in ((150, 86), (1, 6), (0, 5), (4, 4), (3, 0)):
        assert mcnemar(b, c) == pytest.approx(binomtest(b, b + c).pvalue)
    # By hand: 2 (1 + 7) / 2^7.
    assert mcnemar(1, 6) == pytest.approx(0.125)
    assert mcnemar(0, 0) == 1


def test_cochrans_q_of_three_drugs_is_the_published_one():
    # Grizzle, Starmer & Koch (1969): favourable (1) or not, of drugs A, B, C in 46 subjects.
    # Columns 28, 28, 16: 3 (784 + 784 + 256) - 72^2 = 288. Rows: 6 of 3, 20 of 2, 14 of 1:
    # 3 * 72 - (54 + 80 + 14) = 68. Q = 2 * 288 / 68 = 8.4706.
    x = np.array([[a, b, c] for a in (1, 0) for b in (1, 0) for c in (1, 0)], float)
    q, df, p = cochran_q(x, np.array([6, 16, 2, 4, 2, 4, 6, 6]))
    assert (q, df) == (pytest.approx(8.4706, abs=5e-5), 2)
    assert p == pytest.approx(0.0145, abs=5e-5)
    assert np.isnan(cochran_q(np.ones((3, 3)), np.ones(3))[0])


def test_cochrans_q_of_two_is_mcnemars_chi_squared():
    x = np.array([[0, 1], [1, 0], [1, 1], [0, 0]], float)
    q, df, p = cochran_q(x, np.array([10, 25, 8, 8]))
    assert (q, df) == (pytest.approx(15**2 / 35), 1)
    assert p == pytest.approx(chdtrc(1, 15**2 / 35))


def test_a_ratio_over_clusters_by_hand():
    # Three clusters of 2, 2, 4 with 2, 1, 1 hits: 4 / 8; residuals 1, 0, -1.
    found = ratio(np.array([2.0, 1, 1]), np.array([2.0, 2, 4]))
    assert found.estimate == 0.5
    assert found.error == pytest.approx(np.sqrt(2 * 3 / 2) / 8)
    assert found.columns()["interval"] is None  # three clusters are too few


def test_a_contrast_of_pairs_is_the_ratio_of_their_differences():
    rng = np.random.default_rng(0)
    n = rng.integers(2, 9, 12).astype(float)
    a, b = rng.binomial(n.astype(int), 0.5), rng.binomial(n.astype(int), 0.7)
    paired, two = ratio(b - a, n), contrast((b, n), (a, n))
    assert two.estimate == pytest.approx(paired.estimate)
    assert two.error == pytest.approx(paired.error)
    # And of two shares the test that all are the same.
    assert same_shares(np.column_stack([a, b]), n) == pytest.approx(paired.p)


def test_that_all_shares_are_the_same_is_rejected_at_its_rate():
    rng = np.random.default_rng(1)
    n = np.full(20, 30.0)
    level = rng.beta(2, 2, (400, 20, 1))  # clusters differ, levels do not
    hits = rng.binomial(30, level, (400, 20, 4))
    alarms = np.mean([same_shares(h.astype(float), n) < 0.05 for h in hits])  # type: ignore
    assert 0.02 <= alarms <= 0.08


def test_the_place_effect_of_counts_is_that_of_rows():
    rng = np.random.default_rng(2)
    cells, first = rng.integers(0, 6, 60), rng.random(60) < 0.5
    taken, n = rng.random(60) < 0.4 + 0.3 * first, rng.integers(1, 5, 60)
    found, used = shown_first(taken, first, cells, cells // 2, n)
    every = np.repeat(np.arange(60), n)
    estimate, _, clusters = position_bias(
        taken[every].astype(float), first[every], cells[every], (cells // 2)[every]
    )
    assert found.estimate == pytest.approx(estimate)
    assert (found.n_clusters, used.all()) == (clusters, True)


def test_pairs_are_counted_by_hand():
    # Of six dilemmas, in two one turns from option 0 to 1, in one the other way round, one is
    # undecided, one unread, one stays.
    before, after = [0, 0, 1, 0, 0, 1], [1, 1, 0, 2, None, 1]
    rows = [("m", d, 1, "full", [0, 1], 0, a) for d, a in enumerate(before)]
    rows += [("m", d, 1, "none", [0, 1], 0, a) for d, a in enumerate(after)]
    (row,) = paired_choices(tables(rows, 6, quits=True), 0).rows(named=True)
    assert (row["factor"], row["first"], row["second"]) == ("context_mode", "full", "none")
    assert (row["n"], row["n_distinct"], row["n_unscored"]) == (4, 4, 2)
    assert row["estimate"] == pytest.approx((1 - 2) / 4)
    assert (row["n_discordant"], row["flips"]) == (3, 0.75)
    assert row["p"] == 1  # two against one
    assert row["low"] is None  # four clusters
    assert row["unread"] == pytest.approx(1 / 12)
    assert row["noise"] is None
    assert (row["wording"], row["context_mode"]) == ("choose", None)


def test_repeats_are_averaged_and_their_differences_are_the_noise():
    # Taken option 0: in 2 of 2 repeats against 1 of 2, five times.
    taken = {"full": (0, 0), "none": (0, 1)}
    rows = [
        ("m", d, 1, mode, [0, 1], r, action)
        for d in range(5)
        for mode, actions in taken.items()
        for r, action in enumerate(actions)
    ]
    (row,) = paired_choices(tables(rows, 5), 0).rows(named=True)
    assert (row["estimate"], row["n"]) == (-0.5, 5)
    assert (row["flips"], row["noise"]) == (0.5, 0.5)  # two of four; none of one, and one of one
    assert row["p"] == pytest.approx(2 / 2**5)


def test_what_lies_behind_an_unread_choice_counts_nowhere_where_it_is_told():
    rows = [
        ("m", d, s, mode, [0, 1], 0, None if s == 1 and d == 0 else 0)
        for d in range(3)
        for s in (1, 2)
        for mode in ("none", "causal")
    ]
    (row,) = paired_choices(tables(rows, 3), 0).rows(named=True)
    # Six pairs: the first stage unread on both sides, the second behind it on one.
    assert (row["n"], row["n_unscored"]) == (4, 2)
    assert row["unread"] == pytest.approx(2 / 11)
    assert row["left_out"] == pytest.approx(3 / 12)
    table = positions(tables(rows, 3), 0).filter(pl.col("stage").is_null())
    counts = dict(table.filter(measure="refused").select("context_mode", "n").rows())
    assert counts == {"causal": 5, "none": 6}


def test_what_is_unread_and_left_out_is_what_duels_have(play):
    run = play(*DILEMMAS, "agent=random", "population.n_each=0", "population.control=5",
               "env.context=[causal,none]", "env.n_dilemmas=8")  # fmt: skip
    told = load(run)
    lost = pl.struct("episode", "step").hash(7) % 10 == 0
    holes = told.decisions.with_columns(pl.when(~lost).then("action").alias("action"))
    holed = replace(told, decisions=holes)
    table = positions(holed, 0).filter(pl.col("stage").is_null(), measure="unread")
    for key, one in duels(holed):
        row = table.filter(context_mode=key["context_mode"]).row(0, named=True)
        assert (row["unread"], row["left_out"]) == (
            pytest.approx(one.unread),
            pytest.approx(one.left_out),
        )
        assert (row["estimate"], row["n"]) == (pytest.approx(one.unread), one.n.sum())
        assert row["n_unscored"] == one.n_left_out
    assert table["left_out"].max() > table["unread"].max() + 0.05


def test_the_same_member_of_two_models_is_a_pair():
    rows = [
        (f"m@{model}", d, 1, "none", [0, 1], 0, model == "y") for d in range(6) for model in "xy"
    ]
    told = tables([(*row[:-1], int(row[-1])) for row in rows], 6)
    model = pl.col("agent_id").str.tail(1).alias("model")
    told = replace(
        told, agents=told.agents.with_columns(model), decisions=told.decisions.with_columns(model)
    )
    (row,) = paired_choices(told, 0).rows(named=True)
    assert (row["factor"], row["first"], row["second"]) == ("agent", "k (x)", "k (y)")
    assert (row["estimate"], row["n"], row["agent"], row["model"]) == (-1, 6, "k", None)


def test_who_always_takes_the_first_turns_with_the_order(play):
    run = play(*DILEMMAS, "agent=[always_first,random]", "population.n_each=0",
               "population.control=2", "env.context=none", "n_repeats=2")  # fmt: skip
    table = paired_choices(load(run), 0)
    row = table.filter(factor="order", agent="always_first").row(0, named=True)
    assert (row["first"], row["second"]) == ("canonical", "swapped")
    assert (row["estimate"], row["flips"], row["noise"]) == (-1, 1, 0)
    assert row["p"] < 1e-9
    kinds = table.filter(factor="agent").row(0, named=True)
    assert (kinds["first"], kinds["second"], kinds["n"]) == ("always_first", "random", 600)
    place = positions(load(run), 0).filter(pl.col("stage").is_null(), agent="always_first")
    found = dict(place.select("measure", "estimate").rows())
    assert (found["first"], found["last"], found["position_effect"]) == (1, 0, 1)


def test_shuffled_orders_pair_with_both_orders_over_repeats(play):
    run = play(*DILEMMAS, "agent=always_first", "population.n_each=0", "population.control=1",
               "env.context=none", "env.option_order=shuffled", "n_repeats=6")  # fmt: skip
    row = paired_choices(load(run), 0).row(0, named=True)
    assert (row["factor"], row["estimate"]) == ("order", -1)
    assert 130 < row["n"] <= 150  # items that were shown in both orders; all but 1 in 32


def test_three_wordings_have_a_row_of_all_and_holm_counts_the_pairs(play):
    run = play(*DILEMMAS, "agent=random", "population.n_each=0", "population.control=4",
               "env.context=none", "env.wording=[choose,yes_first,act_last]")  # fmt: skip
    table = paired_choices(load(run), 0).filter(factor="wording")
    every = table.filter(pl.col("second").is_null()).row(0, named=True)
    assert (every["df"], every["n"], every["p_holm"]) == (2, 1200, None)
    assert every["p"] == pytest.approx(chdtrc(2, every["q"]))
    pairs = table.filter(pl.col("second").is_not_null())
    assert len(pairs) == 3
    assert pairs["p_holm"].min() == pytest.approx(min(1, 3 * pairs["p_cluster"].min()))


@pytest.fixture
def lots(play):
    """Sixty agents that choose by lot, each a group of its own."""
    run = play(*DILEMMAS, "agent=random", "population.n_each=0", "population.control=60",
               "env.context=[causal,counterfactual]", "n_repeats=2")  # fmt: skip
    told = load(run)
    return replace(told, decisions=told.decisions.with_columns(method=pl.col("agent_id")))


def test_lots_have_their_rate_of_false_alarms(lots):
    paired = paired_choices(lots, 0)
    place = positions(lots, 0).filter(pl.col("stage").is_null(), context_mode="causal")
    path = path_dependence(lots, 0).filter(pl.col("stage").is_null())
    found = {factor: paired.filter(factor=factor) for factor in ("context_mode", "order")}
    found |= {m: place.filter(measure=m) for m in ("first", "position_effect")}
    found |= {m: path.filter(measure=m) for m in ("path_dependence", "consistency")}
    for part in found.values():
        assert len(part) == 60
        alarms = ((part["low"] > part["chance"]) | (part["high"] < part["chance"])).mean()
        assert alarms <= 0.15  # 5 % in 500 of them
    every = [part["p_cluster" if "p_cluster" in part.columns else "p"] for part in found.values()]
    assert 0 < (pl.concat(every) < 0.05).mean() < 0.09


def test_a_planted_bias_for_the_first_place_is_found(play):
    run = play(*DILEMMAS, "agent=ranked", "agent.ranked.first=1.0", "population.n_each=3",
               "population.control=3", "env.context=none")  # fmt: skip
    told = load(run)
    options = told.items.pivot("option", index="item", values="value")
    table = positions(told, 0).filter(pl.col("stage").is_null())
    covered = []
    for value in table["value"].unique():
        # A value of weight 1 against others of 0: P(taken) = expit(its lead + 1 if first).
        lead = np.array([(a == value) * 1.0 - (b == value) for _, a, b in options.iter_rows()])
        effect = np.mean(expit(lead + 1) - expit(lead - 1))
        mine = table.filter(pl.col("value").eq_missing(value))
        for measure, truth in (("position_effect", effect), ("first", (1 + effect) / 2)):
            row = mine.filter(measure=measure).row(0, named=True)
            assert row["estimate"] == pytest.approx(truth, abs=0.08)
            assert row["p_holm"] < 0.001
            covered.append(row["low"] <= truth <= row["high"])
    assert np.mean(covered) >= 0.8


def test_one_order_has_no_place_effect_and_abstention_is_counted(play):
    run = play(*DILEMMAS, "agent=ranked", "agent.ranked.undecided=0.2", "env.abstain=true",
               "population.n_each=0", "population.control=4", "env.context=none",
               "env.option_order=canonical")  # fmt: skip
    table = positions(load(run), 0).filter(pl.col("stage").is_null())
    found = {row["measure"]: row for row in table.iter_rows(named=True)}
    assert found["position_effect"]["estimate"] is None
    assert found["undecided"]["low"] < 0.2 < found["undecided"]["high"]
    assert found["undecided"]["chance"] == pytest.approx(1 / 3)
    assert found["first"]["chance"] == 0.5
    assert found["first"]["n"] + found["first"]["n_unscored"] == found["unread"]["n"] == 600


def test_who_does_not_heed_the_story_has_no_path_dependence(play):
    run = play(*DILEMMAS, "agent=ranked", "agent.ranked.temperature=0.4", "population.n_each=8",
               "population.control=0", "env.context=[causal,counterfactual]",
               "n_repeats=3")  # fmt: skip
    told = load(run)
    each = replace(told, decisions=told.decisions.with_columns(method=pl.col("agent_id")))
    table = path_dependence(each, 0).filter(pl.col("stage").is_null())
    for measure in ("path_dependence", "consistency"):
        part = table.filter(measure=measure)
        assert len(part) == 48
        assert part["estimate"].mean() == pytest.approx(0, abs=0.01)
        assert ((part["low"] > 0) | (part["high"] < 0)).mean() <= 0.15
    assert (table.filter(measure="flips")["estimate"] > 0.1).all()  # which noise accounts for
    # Preferences alone keep it to its choices, against what is told as well.
    own = table.filter(measure="own_counterfactual")["estimate"].mean()
    assert own > table.filter(measure="told_counterfactual")["estimate"].mean() + 0.1


@pytest.mark.parametrize("followers", [0, 3, 4])
def test_who_follows_the_story_has_the_planted_consistency(followers):
    # All choose option 0 (value a) first. Told so, all stay; told the other one (value b), the
    # followers among four members take that.
    rows = []
    for d in range(6):
        for k in range(4):
            for mode in ("causal", "counterfactual"):
                follows = k < followers and mode == "counterfactual"
                rows += [(f"m{k}", d, 1, mode, [0, 1], 0, 0)]
                rows += [(f"m{k}", d, 2, mode, [0, 1], 0, int(follows))]
    # Clusters that are all alike have no interval: one choice in one dilemma is another.
    rows[3] = (*rows[3][:-1], 1 - rows[3][-1])
    apart = 1 if followers == 0 else -1
    share = (followers * 6 + apart) / 24
    table = path_dependence(tables(rows, 6), 0)
    found = {row["measure"]: row for row in table.filter(stage=2).iter_rows(named=True)}
    assert found["own_causal"]["estimate"] == 1
    assert found["told_counterfactual"]["estimate"] == pytest.approx(share)
    assert found["own_counterfactual"]["estimate"] == pytest.approx(1 - share)
    row = found["consistency"]
    assert row["estimate"] == pytest.approx(share)
    assert (row["n"], row["n_distinct"], row["n_unscored"]) == (48, 6, 0)
    assert row["low"] < share < row["high"]
    assert found["flips"]["estimate"] == pytest.approx(share)
    assert (found["noise"]["estimate"], found["path_dependence"]["estimate"]) == (None, None)


def test_only_values_that_are_at_stake_again_are_consistent_with_anything():
    rows = [
        ("m", d, s, mode, [0, 1], 0, 0)
        for d in range(5)
        for s in (1, 2)
        for mode in ("causal", "counterfactual")
    ]
    told = tables(rows, 5)
    second = (pl.col("stage") == 2) & (pl.col("value") == "a")
    # At the second stage c stands instead of a: nobody can take a again, but b, told as chosen.
    items = told.items.with_columns(
        pl.when(second).then(pl.lit("c")).otherwise("value").alias("value")
    )
    table = path_dependence(replace(told, items=items), 0).filter(stage=2)
    counts = dict(table.select("measure", "n").rows())
    assert (counts["own_causal"], counts["own_counterfactual"]) == (0, 0)
    assert counts["told_counterfactual"] == 5
    assert counts["flips"] == 5


@pytest.mark.parametrize("name", NAMES)
def test_tables_without_dilemmas_have_no_rows_and_a_figure_that_says_so(name, play):
    run = play("env=svo_slider", "agent=random", "population=grid", "population.n=2")
    table = analyzer(name)(load(run), 0)
    assert table.schema == import_module(f"sim.analysis.{name}").SCHEMA
    assert table.is_empty()
    figure = getattr(import_module(f"sim.plots.{name}"), name)(table)
    assert "no data for this figure" in {text.get_text() for text in figure.texts}


@pytest.mark.parametrize("name", NAMES)
def test_rows_of_decisions_may_stand_in_any_order(name, play):
    run = play(*DILEMMAS, "agent=[ranked,random]", "population.n_each=1", "population.control=1",
               "env.n_dilemmas=6", "env.context=[causal,counterfactual]",
               "n_repeats=2")  # fmt: skip
    told = load(run)
    mixed = told.decisions.collect().sample(fraction=1, shuffle=True, seed=3)
    table = analyzer(name)(told, 0)
    assert table.height
    assert analyzer(name)(replace(told, decisions=mixed.lazy()), 0).equals(table)
    assert table.schema == import_module(f"sim.analysis.{name}").SCHEMA
    getattr(import_module(f"sim.plots.{name}"), name)(table)
