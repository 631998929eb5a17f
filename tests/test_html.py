import re

import polars as pl
import pytest

from sim import html, shown
from sim.plots import style

RATIONALITY = pl.DataFrame(
    {
        "measure": ["vr", "vrc", "choice_vr"],
        "instrument": "svo_slider",
        "model": "m",
        "agent": "hvae",
        "method": "hvae",
        "value": "altruistic",
        "target": 90.0,
        "control": False,
        "estimate": [0.81234, 0.4, 0.123456],
        "low": [0.7, 0.3, None],
        "high": [0.9, 0.5, None],
        "n": [10, 10, 10],
        "n_distinct": [9, 9, 9],
        "n_unscored": [1, 1, 1],
        "unread": [0.034, 0.034, 0.034],
        "left_out": [0.11, 0.11, 0.034],
        "chance": [0.502, 0.0, 0.5],
        "best_constant": [0.61, None, None],
        "human": [0.59, None, None],
    }
)
COMPLETE = {"status": "complete", "counts": {"ok": 97, "unparsed": 2, "refused": 1}}


@pytest.fixture
def report(tmp_path):
    def write(**changes):
        page = {"title": "Study", "manifest": COMPLETE, "results": {}, "figures": {}}
        page |= {"transcripts": [], "sources": [], "unread_limit": 0.05}
        html.write_report(tmp_path / "report.html", **(page | changes))
        return (tmp_path / "report.html").read_text("utf-8")

    return write


def said(text):
    return [{"agent_id": "a", "turns": [{"kind": "decide", "role": "assistant", "text": text}]}]


def test_what_a_model_says_is_text_and_never_markup(report):
    attack = "<script>alert(1)</script><img src=x onerror=y> </pre> {{ 7 * 7 }}"
    page = report(transcripts=said(attack), title=attack, sources=[attack])
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "{{ 7 * 7 }}" in page


def test_a_table_from_user_text_is_escaped_too(report):
    table = pl.DataFrame({"<b>agent": ["<i>x"], "agent": ["\u202e<u>"]})
    page = report(results={"<svg>": table})
    assert not re.search("<(b|i|u|svg)>", page)


@pytest.mark.parametrize(
    ("text", "spelt"),
    [
        ("a\u202eb", r"a\u202eb"),
        ("a\u2066b", r"a\u2066b"),
        ("a\x00\x1b[31mb", r"a\u0000\u001b[31mb"),
        ("a\u200bb\u2028c\rd", r"a\u200bb\u2028c\u000dd"),
        ("a\ud800b", r"a\ud800b"),
        ("a\U000e0041b", r"a\U000e0041b"),
    ],
)
def test_characters_that_hide_or_reorder_text_are_spelt_out(report, text, spelt):
    assert spelt in report(transcripts=said(text))
    assert shown.harmless(text) == spelt


def test_ordinary_text_of_any_language_stays_as_it_is():
    text = "naïve 漢字 عربي 😀\n\tdone"
    assert shown.harmless(text) == text


def test_missing_keys_of_the_manifest_are_shown_as_dashes(report):
    page = report(manifest={})
    assert page.count("<dd>–</dd>") >= 12
    assert "<dd>– / –</dd>" in page
    assert "Undefined" not in page


@pytest.mark.parametrize("status", ["incomplete", "failed", "running", None])
def test_a_run_that_is_not_complete_says_so_loudly(report, status):
    assert 'class="warning"' in report(manifest={"status": status})


def test_no_warning_where_all_is_well(report):
    assert 'class="warning"' not in report()


def test_unread_answers_over_the_limit_are_loud_and_name_the_group(report):
    page = report(unread_limit=0.02, results={"value_rationality": RATIONALITY})
    assert 'class="warning"' in page
    assert "3 % of all answers could not be read; the study&#39;s limit is 2 %" in page
    assert "hvae: 3.4 % unread" in page
    assert page.count("hvae: 11 % of the answer sheets without score, limit 2 %") == 1


def test_the_headline_has_scores_with_intervals_counts_and_levels(report):
    page = report(results={"value_rationality": RATIONALITY})
    row = re.sub(r"<[^>]+>|\s+", " ", page.split("<tbody>")[1].split("</tr>")[1]).split()
    assert row == [
        "hvae", "altruistic", "(90°)", "0.812", "[0.700,", "0.900]", "0.400", "[0.300,",
        "0.500]", "0.502", "0.590", "0.610", "10", "(9)", "1", "3.4", "%", "11", "%",
    ]  # fmt: skip


def test_the_page_needs_nothing_from_outside_and_forbids_scripts(report, tmp_path):
    style.save(style.no_data(), tmp_path / "svo_scores")
    page = report(figures={"svo_scores": tmp_path / "svo_scores"})
    assert "default-src 'none'" in page
    assert not re.search(r"<script|<link|<iframe|@import|\son\w+=", page)
    assert set(re.findall(r'(?:src|href)="([^",]*)', page)) == {"data:image/svg+xml;base64"}
    assert "http" not in re.sub(r'http-equiv|base64,[^"]*', "", page)


def test_captions_come_from_the_figures_own_docstrings():
    assert html.caption("svo_scores").startswith("One dot per answered instrument")
    assert "Args" not in html.caption("comparison")
    assert html.caption("no_such_figure") == ""
    assert html.caption("../x") == ""


def test_long_tables_are_cut_and_name_the_file_with_the_rest(report):
    page = report(results={"svo_scores": pl.DataFrame({"angle": [1.0] * 201})})
    assert page.count("<td") == 200
    assert "The first 200 of 201 rows; all are in results/svo_scores.csv." in page
    assert "angle (°)" in page


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.123456, "0.123"), (61.3895, "61.4"), (1234567.8, "1,234,568"), (0.0, "0"),
        (float("nan"), "–"), (None, "–"), (1234567, "1,234,567"), (True, "yes"), (999.6, "1,000"),
    ],
)  # fmt: skip
def test_numbers_are_rounded_to_three_significant_digits(value, text):
    assert shown.shown(value) == text


def test_scripted_runs_say_that_they_are_no_evidence_about_models(report):
    assert "seem to be scripted" in report()
    assert "seem to be scripted" not in report(manifest=COMPLETE | {"model": "m"})


def test_a_seed_is_a_name_and_not_a_quantity(report):
    assert "<dd>12345</dd>" in report(manifest=COMPLETE | {"seed": 12345})
