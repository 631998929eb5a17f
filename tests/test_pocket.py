"""The pocket model: what it is trained on, and that what ships does what it should."""

import itertools
import json
import re
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from conftest import compose
from tokenizers import Tokenizer

from agents.base import Member, Rows, Seat
from envs.allocation import Allocation
from envs.items import Item
from sim import setup
from sim.analysis.angle import angle
from sim.analysis.human import CATEGORY, MEAN, percentiles
from sim.analysis.slider import category
from sim.inference import models
from sim.inference.chat import Chat
from sim.inference.models import POCKET
from sim.pocket import speech
from sim.pocket.batches import encode, stream
from sim.pocket.card import card
from sim.pocket.encode import Encoder, texts_of
from sim.pocket.games import Games, fingerprint, person, utility, wanted
from sim.pocket.kept_out import kept_out
from sim.pocket.scores import Line, Score, line, near_best
from sim.pocket.text import OTHER, UNIT, Exchange, Writer
from sim.pocket.words import bank, definitions, own

PLAIN = Writer(kept_out(), others=0.0, dilemmas=0.0)


def talks(writer: Writer, n: int, seed: int = 0):
    return [writer.conversation(np.random.default_rng([seed, k])) for k in range(n)]


def drawn(method: str, value: str | None, monkeypatch) -> list[Exchange]:
    """A conversation of the training in our own words: six choices, the first of nine options."""
    monkeypatch.setattr("sim.pocket.text.METHODS", (method,))
    for k in itertools.count():
        talk = PLAIN.conversation(np.random.default_rng([9, k]))
        asked = [e for e in talk if e.choice is not None]
        first = asked[0].choice
        told = method != "definition" or definitions()[value] in talk[0].said[0][1]
        if len(asked) == 6 and len(first.labels) == 9 and first.value == value and told:
            return talk[: next(i for i, e in enumerate(talk) if e.choice is not None) + 1]
    raise AssertionError


@pytest.mark.parametrize("agent", ["hvae", "hvae_goal", "definition", "control", "control_goal"])
@pytest.mark.parametrize("mode", ["text", "choice", "regex", "json", "label"])
def test_the_prompts_of_training_are_those_that_the_agents_send(agent, mode, monkeypatch):
    monkeypatch.setattr("sim.pocket.text.MODES", (mode,))
    value = None if agent.startswith("control") else "prosocial"
    talk = drawn(agent, value, monkeypatch)
    name = {"control": "hvae", "control_goal": "hvae_goal"}.get(agent, agent)
    parts = setup.build(compose(f"agent={name}", "model=scripted", "env=svo_generated"))
    kind = parts.cast.agents[0]
    kind = type(kind)(kind._method, "shared", mode)
    options = talk[-1].choice.payoffs
    items = [Item(f"i{k}", "choices", 0, k, options, None, None, None) for k in range(6)]
    game = Allocation("choices", items, "canonical", "canonical", UNIT, OTHER)
    slots = np.zeros(1, np.int64)
    game.reset(slots, np.ones(1, np.uint64))
    seen = game.observe(slots, slots)
    words = game.describe(seen)
    definition = definitions()[value] if value else None
    seat = Seat(Member("m", value, 45.0 if value else None, definition), game.preview)
    for exchange in talk:
        nothing = lambda n: np.zeros((1, n))  # noqa: E731
        (turn,) = kind.act(Rows(seen, np.zeros(1), nothing, nothing, [seat], words))
        assert [tuple(m) for m in turn.messages] == exchange.said
        seat.reply = "".join(exchange.reply)


def test_the_published_slider_and_the_items_of_the_evaluation_are_never_drawn():
    from envs.slider_items import PRIMARY, SECONDARY

    slider = {fingerprint(options) for table in (PRIMARY, SECONDARY) for options in table}
    assert len(slider) == 14  # items 5 and 13 offer the same in another order
    assert slider <= kept_out() and len(kept_out()) > 400
    drawn = {fingerprint(Games(()).draw(np.random.default_rng(k), 2)) for k in range(300)}
    rare = Games(drawn)
    again = {fingerprint(rare.draw(np.random.default_rng(k), 2)) for k in range(300)}
    assert not drawn & again


def test_wordings_that_are_kept_for_the_evaluation_are_not_those_of_the_training():
    training = bank("training")
    blocks = ("development", "fresh")
    for words in blocks:
        for slot, wordings in bank(words).items():
            known = training[slot]
            if slot == "option":
                sides = itertools.product(known["mine"], known["theirs"], known["joins"])
                known = [
                    line for a, b, join in sides for line in (join.join((a, b)), join.join((b, a)))
                ]
            elif slot == "units":
                made = itertools.product(training["measures"], training["stuffs"])
                known = [*known, *(f"{measure} of {stuff}" for measure, stuff in made)]
            assert not set(wordings) & set(known)
            assert own().get(slot) not in wordings
    for one, other in itertools.combinations(blocks, 2):
        assert not any(set(w) & set(bank(one)[slot]) for slot, w in bank(other).items())


def test_no_fresh_option_line_is_one_that_the_frames_of_the_training_may_give():
    parts = bank("training")["option"]

    def any_of(wordings: Sequence[str]) -> str:
        return f"(?:{'|'.join(map(re.escape, wordings))})"

    syllable = f"{any_of(speech.ONSETS)}[aeiou]{any_of(speech.CODAS)}"
    word = f"(?:{any_of(parts['words'])}|(?:{syllable}){{1,3}})"
    joins, ands = any_of(parts["joins"]), any_of(parts["ands"])

    def filled(frames: Sequence[str], person: dict[str, str]) -> str:
        known = {"w": word, "v": word, "unit": re.escape("{unit}")} | person
        pieces = (re.split(r"[{](\w+)[}]", frame) for frame in frames)
        made = (
            "".join(known[x] if i % 2 else re.escape(x) for i, x in enumerate(p)) for p in pieces
        )
        return f"(?:{'|'.join(made)})"

    def person(who: str, payoff: str) -> dict[str, str]:
        numbers = any_of([*parts["numbers"], "{n}"]).replace(re.escape("{n}"), re.escape(payoff))
        named = {"who": any_of(parts[who]), "whose": any_of(parts[f"whose_{who}"])}
        named = {k: v.replace(re.escape("{w}"), word) for k, v in named.items()}
        return named | {"n": numbers}

    patterns = []
    for both in itertools.permutations([person("me", "{self}"), person("them", "{other}")]):
        joint = {key: f"\\W?{both[0][key]}{ands}{both[1][key]}\\W?" for key in both[0]}
        named = [filled(parts["frames"], who) for who in both]
        bare = [filled(parts["nameless"], who) for who in both]
        patterns += [filled(parts["frames"], joint), joins.join(named)]
        patterns += [bare[0] + joins + named[1], named[0] + joins + bare[1]]

    def may_give(line: str) -> bool:
        return any(re.fullmatch(x, line.rstrip("."), re.IGNORECASE) for x in patterns)

    for known in (
        "you flop +{self}; the other side flop +{other}",
        "(the other/me) = ({other}/{self})",
        "give {other} {unit} and mip to you {self}",
    ):
        assert may_give(known), known
    assert not [line for line in bank("fresh")["option"] if may_give(line)]


def test_every_method_and_mode_and_width_is_met():
    seen = talks(Writer(kept_out()), 600)
    told = [" ".join(c for e in talk for _, c in e.said) for talk in seen]
    for mode in ("text", "regex", "choice", "label", "json"):
        assert any(own()[f"{mode}_format"] in t for t in told), mode
    assert any("state in one single sentence" in t for t in told)
    assert any(t.startswith("You are a person with a") for t in told)
    values = {e.choice.value for talk in seen for e in talk if e.choice}
    assert {None, *definitions()} <= values
    widths = {len(e.choice.labels) for talk in seen for e in talk if e.choice}
    assert widths == set(range(2, 10))


def test_each_orientation_wants_what_its_utility_says():
    options = np.array([[85, 85], [100, 50], [50, 100], [85, 15]])
    best = {v: int(utility(v, options).argmax()) for v in ("altruistic", "individualistic")}
    assert best == {"altruistic": 2, "individualistic": 1}
    assert utility("competitive", options).argmax() == 3
    assert utility("prosocial", options).argmax() == 0
    for voice in ("altruistic", "people_fair", "people_own"):
        share = wanted(voice, options)
        assert (
            share.sum() == pytest.approx(1) and share.argmax() == utility(voice, options).argmax()
        )
    # Ties are wanted alike, but people look for what is equal.
    tied = np.array([[50, 100], [75, 75], [100, 50]])
    assert wanted("prosocial", tied) == pytest.approx([1 / 3] * 3)
    assert wanted("people_fair", tied).argmax() == 1


def test_people_without_an_instruction_measure_about_the_human_angles():
    from envs.slider_items import PRIMARY

    for target in np.linspace(-10, 60, 15):
        who = person(target)
        chosen = []
        for options in PRIMARY:
            shares = (1 - who.share) * wanted(who.low, options) + who.share * wanted(
                who.high, options
            )
            chosen.append(shares @ options)
        assert float(angle(np.array(chosen), (50, 50), 50)) == pytest.approx(target, abs=3)
    assert percentiles().mean() == pytest.approx(MEAN, abs=0.6)


@pytest.mark.parametrize(
    ("value", "chosen", "near"),
    [
        ("individualistic", 0, True),
        ("individualistic", 1, True),  # 1 of a range of 60
        ("individualistic", 2, False),
        ("altruistic", 3, True),
        ("altruistic", 0, False),
        ("competitive", 0, True),
    ],
)
def test_near_best_is_within_two_percent_of_the_range(value, chosen, near):
    options = np.array([[100, 40], [99, 50], [90, 70], [60, 100]])
    assert near_best(value, options, chosen) is near


def test_a_score_tells_what_it_is_by_lot_and_as_taught():
    options = np.array([[100, 40], [99, 50], [90, 70], [60, 100]])
    score = Score.of("individualistic", options, 2)
    assert (score.hit, score.lot) == (0.0, 0.5)
    assert score.taught == pytest.approx(wanted("individualistic", options)[:2].sum())
    assert Score.of("altruistic", options, 3).lot == 0.25
    # By the range of its own utility, 198 to 206 in sum, the second is not near the third.
    assert not near_best("prosocial", np.array([[150, 50], [103, 103], [60, 142]]), 0, True)


def test_a_line_has_its_interval_over_units_and_one_where_all_are_alike():
    mixed = line("x", {k: [1.0, 0.0] * 5 + [float(k % 2)] for k in range(10)})
    assert (mixed.n, mixed.units) == (110, 10) and mixed.low < mixed.value < mixed.high
    alike = line("x", {k: [1.0] for k in range(300)})
    assert alike.value == 1 and alike.low == pytest.approx(0.987, abs=0.001)
    assert line("x", {k: [0.5] for k in range(3)}).low is None


def test_pieces_from_memory_are_the_tokens_of_the_whole_text_and_digits_stand_alone():
    tokenizer = Tokenizer.from_file(str(POCKET / "tokenizer.json"))
    encoder = Encoder(tokenizer)
    for talk in talks(Writer(kept_out()), 60):
        for text in texts_of(talk):
            ids = encoder(text)
            assert ids == tokenizer.encode(text, add_special_tokens=False).ids
            assert tokenizer.decode(ids) == text
            digits = [t for t in ids if any(c.isdigit() for c in tokenizer.decode([t]))]
            assert all(len(tokenizer.decode([t]).strip()) == 1 for t in digits)


def test_a_conversation_of_training_has_the_tokens_of_the_chat_template():
    chat = Chat.load("pocket", POCKET, None, {})
    encoder = Encoder(chat.tokenizer)
    assert chat.append_only
    for talk in talks(Writer(kept_out()), 30):
        messages = []
        for exchange in talk:
            messages += [{"role": r, "content": c} for r, c in exchange.said]
            messages.append({"role": "assistant", "content": "".join(exchange.reply)})
        assert encode(talk, encoder).ids == chat.encode(chat.render(messages, False)).tolist()


def test_labels_of_nine_options_are_one_token_each():
    chat = Chat.load("pocket", POCKET, None, {})
    assert len(chat.labels(tuple("ABCDEFGHI"))[1]) == 9


def test_the_same_seed_gives_the_same_batches():
    tokenizer = Tokenizer.from_file(str(POCKET / "tokenizer.json"))
    encoder, torn = Encoder(tokenizer), Encoder(tokenizer, 0.1)
    assert torn("the other person", 1) == Encoder(tokenizer, 0.1)("the other person", 1)
    assert len({tuple(torn("the other person", k)) for k in range(8)}) > 3
    first, again, other = (
        list(itertools.islice(stream(PLAIN, encoder, torn, seed, 4096), 2)) for seed in (3, 3, 4)
    )
    for a, b in zip(first, again, strict=True):
        assert all(np.array_equal(getattr(a, k), getattr(b, k)) for k in ("ids", "wanted", "lines"))
    assert not np.array_equal(first[0].ids, other[0].ids)


def test_the_same_seed_gives_the_same_weights(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    from sim.pocket.learning import train
    from sim.pocket.network import Shape

    def made(name: str, seed: int) -> list[bytes]:
        folder = tmp_path / name
        folder.mkdir()
        lines = list(train(Shape(512, 32, 64, 2, 2, 1), seed, 4, 3072, "cpu", folder))
        assert lines[-1]["step"] == 4
        return [(folder / f).read_bytes() for f in ("model.safetensors", "tokenizer.json")]

    whole = made("one", 0)
    assert made("again", 0) == whole
    assert made("other", 1)[0] != whole[0]


@pytest.mark.slow  # compiles
def test_the_same_seed_gives_the_same_weights_by_the_whole_command(tmp_path):
    pytest.importorskip("torch")
    made = []
    for name in ("a", "b"):
        command = [sys.executable, "-m", "sim.pocket.train", "--steps", "260", "--tokens", "3072"]
        command += ["--out", str(tmp_path / name)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert f"sim.pocket.evaluate --weights {tmp_path / name}" in done.stdout
        files = sorted(f.name for f in (tmp_path / name).iterdir())
        made.append([(tmp_path / name / f).read_bytes() for f in files if f.startswith("model.")])
    assert len(made[0]) == 2 and made[0] == made[1]


def test_the_card_of_the_weights_that_ship_is_what_their_evaluation_writes():
    told = json.loads((POCKET / "evaluation.json").read_text())
    known = models.fingerprint(POCKET, "model.*")
    assert all(weights in known for weights in told["weights"])
    lines = [Line(**x) for x in told["lines"]]
    assert (POCKET / "README.md").read_text(encoding="utf-8") == card(lines, POCKET)


@pytest.mark.slow
def test_the_evaluation_tells_weights_lot_and_what_was_taught(tmp_path):
    command = [sys.executable, "-m", "sim.pocket.evaluate", "--n", "2", "--out"]
    out = tmp_path / "found.json"
    done = subprocess.run([*command, str(out)], capture_output=True, text=True, check=True)
    told = json.loads(out.read_text())
    assert told["weights"][0]["sha256"][:12] in done.stdout
    near = [x for x in told["lines"] if "near the best" in x["what"]]
    assert len(near) == 8 and all(0 < x["lot"] < x["taught"] < 1 for x in near)
    refused = subprocess.run(
        [*command, str(out), "--weights", str(tmp_path)], capture_output=True, text=True
    )
    assert refused.returncode == 1 and refused.stderr.startswith("refused: ")


def test_the_network_of_training_is_the_llama_that_engines_read(tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from safetensors.torch import save_file

    from sim.pocket.network import Pocket, Shape

    torch.manual_seed(0)
    shape = Shape(512, 64, 96, 2, 4, 2)
    ours = Pocket(shape).eval()
    save_file(ours.weights(), tmp_path / "model.safetensors", {"format": "pt"})
    ids = {"bos_token_id": 0, "pad_token_id": 0, "eos_token_id": 1}
    config = transformers.LlamaConfig(**shape.config(ids))
    config.save_pretrained(tmp_path)
    theirs = transformers.LlamaForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    tokens = torch.randint(0, 512, (1, 300))
    positions, whose = torch.arange(300)[None], torch.zeros(1, 300, dtype=torch.long)
    with torch.no_grad():
        last, _ = ours(tokens, positions, whose)
        logits = last @ ours.embed_tokens.weight.T
        assert torch.allclose(logits, theirs(tokens).logits, atol=1e-4)


def test_the_model_that_ships_follows_four_orientations_and_reads_nearly_always(play):
    folder = play("experiment=hvae", "model=pocket", "agent=hvae", "population.n=40")
    rows = pl.read_parquet(folder / "decisions.parquet")
    assert rows["action"].null_count() <= 0.03 * len(rows)
    means = {}
    for (value,), part in rows.drop_nulls("action").partition_by("value", as_dict=True).items():
        whole = part.select("payoff_self", "payoff_other").to_numpy()
        means[value] = float(angle(whole, (50.0, 50.0), 50.0))
    ordered = [means[v] for v in ("competitive", "individualistic", "prosocial", "altruistic")]
    assert all(b - a > 8 for a, b in itertools.pairwise(ordered)), means
    assert abs(means[None] - MEAN) < 10


def test_controls_of_the_model_that_ships_answer_like_people(play):
    folder = play(
        "experiment=hvae", "model=pocket", "agent=hvae", "population=counts",
        *(f"population.counts.{value}=0" for value in definitions()),
        "population.counts.control=200",
    )  # fmt: skip
    rows = pl.read_parquet(folder / "decisions.parquet").drop_nulls("action")
    sheets = rows.group_by("agent_id").agg("payoff_self", "payoff_other").drop("agent_id")
    whole = [np.stack([a, b], 1) for a, b in sheets.iter_rows() if len(a) == 6]
    angles = angle(np.array(whole, float), (50.0, 50.0), 50.0)
    assert len(whole) >= 180 and abs(angles.mean() - MEAN) < 6
    assert abs((category(angles) == "prosocial").mean() - CATEGORY["prosocial"]) < 0.12
