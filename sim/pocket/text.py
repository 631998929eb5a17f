"""Conversations to learn from: prompts as our agents send them, replies in our reply format.

The agents' own wordings are taken from their code (`agents`, `envs`), others from
`wordings.yaml`; what is said in reply stands in `voices.yaml` and `dilemmas.yaml`.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.analysis.human import percentiles
from sim.inference.modes import PREFIX
from sim.pocket.games import Games, Options, person, wanted
from sim.pocket.speech import FRAMES, Speech
from sim.pocket.words import SVO, definitions, own, pick, plain

LABELS = "ABCDEFGHI"
DILEMMA = "{setting} you must choose. {pressure}\n{options}\nWhich one do you choose?"
UNIT, OTHER = "points", "another person, whom you do not know"
METHODS = ("hvae", "hvae_goal", "definition", "control", "control_goal")
MODES = ("text", "text", "text", "regex", "choice", "label", "json")


@dataclass
class Choice:
    """The answer of a reply: which label, and how good each would have been.

    Attributes:
        labels: names of the options, one character each.
        wanted: probability of each.
        payoffs: of the options, in the order shown; None where nothing is paid.
        value: the orientation that the conversation assigns, if any.
    """

    labels: str
    wanted: NDArray[np.float64]
    payoffs: Options | None
    value: str | None


@dataclass
class Exchange:
    """What was said to the model and what it should reply.

    Attributes:
        said: (role, content) pairs.
        reply: in three parts: before the answer's label, the label, after it.
        choice: what the label means; None where nothing is chosen.
        silent: the part before the label is put into the model's mouth.
    """

    said: list[tuple[str, str]]
    reply: tuple[str, str, str]
    choice: Choice | None = None
    silent: bool = False


class Writer:
    """Writes conversations.

    Args:
        kept_out: option sets that are never drawn (`games.fingerprint`).
        words: whose wordings the prompts have, see `bank`.
        others: share of slots that are not worded as our agents word them; None: as drawn.
        dilemmas: share of conversations about dilemmas.
        games: draws the choices; None: as for training.

    Attributes:
        max_options: most options of a game.
        frames: share of option lines, among those worded otherwise, with made-up words.
    """

    def __init__(
        self,
        kept_out: Collection[tuple] = (),
        words: str = "training",
        others: float | None = None,
        dilemmas: float = 0.12,
        games: Games | None = None,
    ):
        self._games = games or Games(kept_out)
        self._words, self._others, self._dilemmas = words, others, dilemmas
        self.max_options, self.frames = len(LABELS), FRAMES

    def conversation(self, rng: np.random.Generator) -> list[Exchange]:
        """One whole conversation."""
        others = self._others
        if others is None:
            others = float(pick(rng, [0.0, 0.3, 0.7, 1.0]))
        speech = Speech(rng, others, self._words, self.frames)
        n = int(rng.integers(1, 7))
        if rng.random() < 0.03:
            n = int(rng.integers(7, 16))
        if rng.random() < self._dilemmas:
            return self._about_dilemmas(rng, speech, min(n, 6))
        return self._about_points(rng, speech, n)

    # -- points -----------------------------------------------------------------------------

    def _about_points(self, rng: np.random.Generator, say: Speech, n: int) -> list[Exchange]:
        method = pick(rng, METHODS)
        mode = pick(rng, MODES)
        value = None if method.startswith("control") else pick(rng, SVO)
        unit, other = say.named("units", UNIT), say.named("others", OTHER)
        who = None if value else person(float(pick(rng, list(percentiles()))))
        first = value or who.voice(rng)  # type: ignore[union-attr]
        preview = say("preview").format(n=n, unit=unit, other=other)
        opening, talk, reminder = self._induce(rng, say, method, value, first, preview)
        for k in range(n):
            voice = value or who.voice(rng)  # type: ignore[union-attr]
            width = int(rng.integers(2, self.max_options + 1))
            options = self._games.draw(rng, width)
            lines = "\n".join(
                f"{LABELS[i]}: " + say("option").format(self=a, other=b, unit=unit)
                for i, (a, b) in enumerate(options.tolist())
            )
            question = say("text").format(n=width, unit=unit, other=other, options=lines)
            said = self._asked(say, question, reminder, mode)
            choice = Choice(LABELS[:width], wanted(voice, options), options, value)
            reason = pick(rng, plain("voices.yaml")[voice]["reasons"])
            talk += _answers(rng, say, opening * (k == 0) + [("user", said)], mode, choice, reason)
        return talk

    def _induce(
        self,
        rng: np.random.Generator,
        say: Speech,
        method: str,
        value: str | None,
        voice: str,
        preview: str,
    ) -> tuple[list[tuple[str, str]], list[Exchange], str]:
        """(messages that open the first question, exchanges before it, reminder)."""
        voices = plain("voices.yaml")[voice]
        talk: list[Exchange] = []
        if method == "definition" and value:
            meant = pick(rng, [definitions()[value], *voices["definitions"]])
            return [("system", say("system").format(value=value, definition=meant))], talk, ""
        if method == "control":
            return [], talk, ""
        if value:
            described = pick(rng, voices["described"])
            talk.append(_told(say("describe").format(value=value), described))
            role = f"Understood. I answer as a person with the {value} orientation."
            talk.append(_told(say("role").format(value=value), role))
        if method.endswith("goal"):
            given = say("given").format(value=value) if value else ""
            goal = pick(rng, voices["goals"])
            talk.append(_told(say("goal").format(preview=preview, given=given), goal))
            return [], talk, say("reminder_goal").format(goal=goal)
        return [], talk, say("reminder_plain").format(value=value)

    def _asked(self, say: Speech, question: str, reminder: str, mode: str) -> str:
        slot = {"regex": "text_format"}.get(mode, f"{mode}_format")
        form = say(slot if mode != "regex" or say.others else "regex_format")
        return "\n\n".join(part for part in (question, reminder, form) if part)

    # -- dilemmas ---------------------------------------------------------------------------

    def _about_dilemmas(self, rng: np.random.Generator, say: Speech, n: int) -> list[Exchange]:
        known = plain("dilemmas.yaml")
        theory = known[pick(rng, ["schwartz", "moral foundations"])]
        method, mode = pick(rng, ("hvae", "hvae", "control")), pick(rng, MODES)
        value = None if method == "control" else pick(rng, list(theory))
        talk: list[Exchange] = []
        reminder = ""
        if value:
            act = pick(rng, theory[value]["acts"])
            described = pick(rng, known["described"]).format(value=value, act=act)
            asked = say("describe").replace("social value orientation", "value")
            talk.append(_told(asked.format(value=value), described))
            asked = say("role").replace("social value orientation", "value")
            talk.append(_told(asked.format(value=value), f"Understood. I put {value} first."))
            reminder = say("reminder_plain").replace("social value orientation", "value")
            reminder = reminder.format(value=value)
        for _ in range(n):
            pair = [str(v) for v in rng.choice(list(theory), 2, replace=False)]
            if value and value not in pair and rng.random() < 0.8:
                pair[int(rng.integers(2))] = value
            acts = [pick(rng, theory[v]["acts"]) for v in pair]
            odds = [_pull(theory, value, v) for v in pair]
            first = 1 / (1 + np.exp(odds[1] - odds[0]))
            choice = Choice("AB", np.array([first, 1 - first]), None, value)
            shown = "\n".join(f"{x}: You {act}." for x, act in zip("AB", acts, strict=True))
            question = DILEMMA.format(
                setting=pick(rng, known["settings"]), pressure=pick(rng, known["pressures"]),
                options=shown,
            )  # fmt: skip
            said = [("user", self._asked(say, question, reminder, mode))]
            answered = int(rng.random() >= first)
            reason = pick(rng, known["reasons"]).format(value=pair[answered])
            choice.wanted = np.eye(2)[answered]  # the reason has told it
            talk += _answers(rng, say, said, mode, choice, reason)
        return talk


def _pull(theory: Mapping[str, Any], value: str | None, option: str) -> float:
    """Log odds of an option's value: the assigned one, its neighbours, or people's liking."""
    if value is None:
        return 2 * theory[option]["strength"]
    if value == option:
        return 8.0
    if theory[value]["angle"] is None:
        return theory[option]["strength"]
    apart = np.radians(theory[value]["angle"] - theory[option]["angle"])
    return 3 * float(np.cos(apart))


def _told(said: str, reply: str) -> Exchange:
    return Exchange([("user", said)], (reply, "", ""))


def _answers(
    rng: np.random.Generator,
    say: Speech,
    said: list[tuple[str, str]],
    mode: str,
    choice: Choice,
    reason: str,
) -> list[Exchange]:
    """The exchange of one question; now and then it is asked again."""
    label = choice.labels[int(rng.choice(len(choice.labels), p=choice.wanted))]
    reply, silent = _reply(mode, label, reason), mode == "label"
    if mode == "text" and rng.random() < 0.02:
        again = say("reask") + own()["label_format"]
        return [
            Exchange(said, ("I am not sure about this.", "", "")),
            Exchange([("user", again)], _reply("label", label, reason), choice),
        ]
    return [Exchange(said, reply, choice, silent)]


def _reply(mode: str, label: str, reason: str) -> tuple[str, str, str]:
    if mode == "choice":
        return "", label, ""
    if mode == "json":
        return f'{{"reason": {json.dumps(reason)}, "answer": "', label, '"}'
    if mode == "label":
        return PREFIX, f" {label}", ""
    return f"{reason}\n{PREFIX}", f" {label}", ""
