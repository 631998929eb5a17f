from importlib import import_module
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from matplotlib.figure import Figure

from sim.plots import style

FILES = sorted(Path(style.__file__).parent.glob("*.py"))
NAMES = [file.stem for file in FILES if file.stem not in ("__init__", "style", "by_stage")]
TARGETS = {"altruistic": 90.0, "prosocial": 45.0, "individualistic": 0.0, "competitive": -45.0}
COUNTS = {"n": 6, "n_distinct": 6, "n_unscored": 0, "unread": 0.02}
GROUP = {"instrument": "svo_slider", "model": "m", "agent": "hvae", "method": "hvae"}


def rationality(targets=TARGETS, agents=("hvae", "random")):
    rows = [
        GROUP | COUNTS | {"measure": measure, "value": value, "target": target}
        | {"agent": agent, "method": agent, "control": agent == "random", "against": None}
        | {"estimate": 0.8 - 0.1 * k, "low": 0.6 - 0.1 * k, "high": 0.9 - 0.1 * k, "interval": "t"}
        | {"chance": 0.5, "best_constant": 0.7, "human": 0.6, "p": None, "p_holm": None}
        for measure in ("vr", "vrc", "gain", "choice_vr")
        for value, target in targets.items()
        for k, agent in enumerate(agents)
    ]  # fmt: skip
    return pl.DataFrame(rows)


def scores(angles=(10.0, 10.0, 30.0, None)):
    rows = [
        GROUP | {"agent_id": f"a{k}", "episode": k, "repeat": 0, "value": value}
        | {"target": TARGETS.get(value), "angle": angle, "category": "individualistic"}
        | {"mean_self": 80.0, "mean_other": 60.0, "ia_index": None, "unread": 0.0}
        for k, angle in enumerate(angles)
        for value in ("altruistic", None)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema_overrides={"ia_index": pl.Float64})


def profile():
    numbers = {"angle_mean": 30.0, "angle_q05": 5.0, "angle_q25": 20.0, "angle_q50": 31.0}
    numbers |= {"angle_q75": 40.0, "angle_q95": 50.0}
    numbers |= {"share_prosocial": 0.75, "share_individualistic": 0.25, "share_transitive": 1.0}
    rows = [
        GROUP | COUNTS | {"value": value, "target": target, "measure": measure}
        | {"estimate": number, "low": None, "high": None, "chance": number, "human": number}
        for value, target in TARGETS.items()
        for measure, number in numbers.items()
    ]  # fmt: skip
    return pl.DataFrame(rows)


def dose():
    ends = {"low": None, "high": None, "perfect_low": None, "perfect_high": None}
    dots = [
        GROUP | COUNTS | ends | {"row": "group", "value": None, "target": target, "chance": 22.7}
        | {"estimate": target / 2, "low": target / 2 - 3, "high": target / 2 + 3}
        for target in (-45.0, 0.0, 45.0, 90.0)
    ]  # fmt: skip
    steps = [(-90.0, -16.0, -16.0), (0.0, -7.8, 7.8), (30.0, 37.0, 37.0), (90.0, 61.0, 61.0)]
    perfect = [
        dict.fromkeys(dots[0]) | {"row": "perfect", "instrument": "svo_slider", "target": target}
        | {"perfect_low": low, "perfect_high": high}
        for target, low, high in steps
    ]  # fmt: skip
    return pl.DataFrame(dots + perfect, infer_schema_length=None)


def comparison():
    return pl.concat([rationality().with_columns(run=pl.lit(f"seed={k}")) for k in range(3)])


TABLES = {
    "value_rationality": rationality,
    "svo_scores": scores,
    "svo_profile": profile,
    "dose_response": dose,
    "comparison": comparison,
}


def draw(name, table) -> Figure:
    return getattr(import_module(f"sim.plots.{name}"), name)(table)


def gids(figure):
    return {artist.get_gid() for artist in figure.findobj()} - {None}


def texts(figure):
    return {artist.get_text() for artist in figure.findobj(lambda a: hasattr(a, "get_text"))}


@pytest.mark.parametrize("name", NAMES)
def test_every_file_has_a_function_of_its_own_name_with_a_caption(name):
    assert getattr(import_module(f"sim.plots.{name}"), name).__doc__


@pytest.mark.parametrize("name", NAMES)
def test_a_table_without_rows_gives_a_figure_that_says_so(name):
    assert "no data for this figure" in texts(draw(name, pl.DataFrame()))
    if name in TABLES:
        assert "no data for this figure" in texts(draw(name, TABLES[name]().clear()))


@pytest.mark.parametrize("name", TABLES)
def test_equal_tables_give_equal_bytes(name, tmp_path):
    first = style.save(draw(name, TABLES[name]()), tmp_path / "first")
    second = style.save(draw(name, TABLES[name]()), tmp_path / "second")
    assert [path.suffix for path in first] == [".png", ".svg"]
    for one, other in zip(first, second, strict=True):
        assert len(one.read_bytes()) > 2000
        assert one.read_bytes() == other.read_bytes()


def test_the_radar_has_a_ring_for_chance_one_for_humans_and_a_polygon_per_group():
    figure = draw("value_rationality", rationality())
    assert {"chance", "human", "best_constant", "hvae", "random (control)"} <= gids(figure)
    chance = [line for line in figure.axes[0].lines if line.get_gid() == "chance"]
    assert chance[0].get_xydata()[0].tolist() == [0, 0.5]  # altruistic, on top


def test_the_legend_gives_n_and_the_share_of_unread_answers():
    assert "hvae (n 6, unread 2 %)" in {
        text.get_text() for text in draw("value_rationality", rationality()).legends[0].get_texts()
    }


@pytest.mark.parametrize(
    "targets", [{"altruistic": 90.0, "prosocial": 45.0}, {"angle_10": 10.0, "b": 80.0, "c": 5.0}]
)
def test_few_axes_or_other_targets_give_dots_with_chance_ticks_instead_of_a_radar(targets):
    figure = draw("value_rationality", rationality(targets))
    assert len(figure.axes[0].get_yticks()) == len(targets)
    ticks = [line for line in figure.axes[0].lines if line.get_gid() == "chance"]
    assert [line.get_xdata()[0] for line in ticks] == [0.5] * len(targets)


def test_a_game_without_an_angle_is_drawn_from_its_choices():
    table = rationality().filter(measure="choice_vr")
    title = draw("value_rationality", table).axes[0].get_title()
    assert title.replace("\n", " ") == "svo slider: choice value rationality"


def test_every_scored_agent_is_a_dot_and_unscored_ones_are_counted():
    figure = draw("svo_scores", scores())
    dots = [c for axes in figure.axes for c in axes.collections]
    assert sum(len(c.get_offsets()) for c in dots) == 6
    assert "n 6, without a score 2" in texts(figure)


def test_ten_thousand_dots_stay_inside_the_axes():
    figure = draw("svo_scores", scores([10.0] * 5000))
    (axes,) = figure.axes
    right = max(c.get_offsets()[:, 0].max() for c in axes.collections)
    assert sum(len(c.get_offsets()) for c in axes.collections) == 10_000
    assert right < axes.get_xlim()[1]


def test_secondary_items_without_an_angle_get_no_ring():
    second = scores((None,)).with_columns(instrument=pl.lit("second"), ia_index=pl.lit(0.5))
    assert len(draw("svo_scores", pl.concat([scores(), second])).axes) == 1


def test_the_profile_shows_humans_and_chance_above_the_groups():
    left, right = draw("svo_profile", profile()).axes
    labels = [label.get_text() for label in left.get_yticklabels()]
    assert labels[:3] == ["humans", "chance", "hvae: altruistic"]
    assert [bar.get_width() for bar in right.patches[:2]] == [0.75, 0.25]


def test_the_perfect_agent_is_a_stepped_line_with_a_bar_at_ties():
    (axes,) = draw("dose_response", dose()).axes
    (line,) = [line for line in axes.lines if line.get_gid() == "perfect"]
    assert line.get_ydata().tolist() == [-16, 37, 61]
    (band,) = [c for c in axes.collections if c.get_gid() == "band"]
    assert band.get_segments()[0].tolist() == [[0, -7.8], [0, 7.8]]
    assert [line.get_ydata()[0] for line in axes.lines if line.get_gid() == "chance"] == [22.7]


def test_a_comparison_names_every_run_and_keeps_main_scores_only():
    figure = draw("comparison", comparison())
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[0] == "seed=0 (n 6, unread 2 %)"
    dots = [line for line in figure.axes[0].lines if line.get_marker() != "None"]
    assert len(dots) == 3 * 4


def test_drawing_leaves_the_settings_of_matplotlib_alone():
    import matplotlib

    before = dict(matplotlib.rcParams)
    draw("dose_response", dose())
    assert dict(matplotlib.rcParams) == before


def test_labels_name_model_and_method_only_where_they_tell_groups_apart():
    one = pl.DataFrame({"model": ["a/m"], "agent": ["linear"], "method": ["utility"]})
    more = one.vstack(one.with_columns(method=pl.lit("none")))
    other = one.vstack(one.with_columns(model=pl.lit("b/k")))
    assert [group.label for group in style.groups(one)] == ["linear"]
    assert [group.label for group in style.groups(more)] == ["linear · none", "linear · utility"]
    assert [group.label for group in style.groups(other)] == ["linear · m", "linear · k"]


def drifting(targets):
    rows = [
        GROUP | COUNTS | {"measure": "choice_vr", "value": f"{t:g}deg", "target": float(t)}
        | {"context_mode": "shared", "step": step, "n_flat": 0, "estimate": 0.8, "low": 0.7}
        | {"high": 0.9, "chance": 0.5}
        for t in targets for step in range(3)
    ]  # fmt: skip
    return pl.DataFrame(rows)


def test_drift_says_how_many_angles_it_shows_and_gives_each_a_colour():
    (axes,) = draw("drift", drifting(range(-45, 95, 5))).axes
    legend = axes.get_legend()
    assert legend.get_title().get_text() == "12 of 28 shown"
    labels = [text.get_text() for text in legend.get_texts()]
    assert (labels[0], labels[11], len(labels)) == ("90°", "-45°", 13)
    lines = [line for line in axes.lines if line.get_marker() == "o"]
    assert len({str(line.get_color()) for line in lines}) == 12
    (axes,) = draw("drift", drifting([0, 30])).axes
    assert axes.get_legend().get_title().get_text() == ""


def test_items_of_their_own_have_one_band_of_chance_and_each_groups_perfect_agent():
    table = dose().with_columns(
        pl.when(pl.col("row") == "group").then(20 + pl.col("target") / 20).alias("chance"),
        pl.when(pl.col("row") == "group")
        .then(pl.col("target") - 1).otherwise("perfect_low").alias("perfect_low"),
        pl.when(pl.col("row") == "group")
        .then(pl.col("target") + 1).otherwise("perfect_high").alias("perfect_high"),
    )  # fmt: skip
    figure = draw("dose_response", table)
    (axes,) = figure.axes
    (band,) = [patch for patch in axes.patches if patch.get_gid() == "chance"]
    assert (band.get_y(), band.get_y() + band.get_height()) == (17.75, 24.5)
    assert not [line for line in axes.lines if line.get_gid() == "chance"]
    own = [c.get_segments()[0] for c in axes.collections if c.get_gid() == "own"]
    assert sorted(segment[0][1] for segment in own) == [-45, 0, 45, 90]
    assert "perfect agent, a group's own items" in texts(figure)


def agreeing():
    about = GROUP | COUNTS | {"first": "svo_generated", "second": "svo_slider", "chance": 0.0}
    rows = [
        about | {"measure": "spearman", "scope": "across", "estimate": 0.9, "low": 0.6}
        | {"high": 1.0},
        about | {"measure": "spearman", "scope": "within", "estimate": None, "n": 0},
        about | {"measure": "vrc_difference", "scope": "across", "estimate": -0.02}
        | {"low": -0.11, "high": 0.065},
    ]  # fmt: skip
    names = dict.fromkeys(name for row in rows for name in row)
    return pl.DataFrame([names | row for row in rows])


def test_agreement_counts_what_it_draws_says_why_a_panel_is_empty_and_has_few_ticks():
    figure = draw("agreement", agreeing())
    figure.draw_without_rendering()
    assert "hvae (n 6, unread 2 %)" in texts(figure)
    assert "no two of these instruments\nhave categories in common" in texts(figure)
    right = figure.axes[2]
    boxes = [label.get_window_extent() for label in right.get_xticklabels() if label.get_text()]
    inside = [box for box in boxes if box.x1 < figure.bbox.x1]
    assert all(a.x1 < b.x0 for a, b in pairwise(inside))
    without = agreeing().with_columns(measure=pl.lit("kappa"), estimate=pl.lit(None, pl.Float64))
    assert "kappa is not defined:\nall are of one category" in texts(draw("agreement", without))


def test_no_share_of_variance_is_drawn_beyond_the_whole():
    rows = [GROUP | COUNTS | {"source": s, "estimate": e, "low": e - 0.9, "high": e + 0.9}
            for s, e in (("orientation", 0.9), ("repeat", 0.1))]  # fmt: skip
    (axes,) = draw("prompt_sensitivity", pl.DataFrame(rows)).axes
    low, high = axes.get_xlim()
    assert high == 1
    assert -0.2 < low < 0


def test_a_chance_that_is_one_turn_away_is_no_band():
    chance = pl.Series("chance", [22.7, 22.7, 22.7, -337.3] + [None] * 4)
    (axes,) = draw("dose_response", dose().with_columns(chance)).axes
    assert not [patch for patch in axes.patches if patch.get_gid() == "chance"]
    assert len([line for line in axes.lines if line.get_gid() == "chance"]) == 2
