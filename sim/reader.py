"""Which one option a free-text reply names, or none: when in doubt, none."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from sim import reader_patterns as p

NAMED, PROSE, LEADING_A, DOUBT = range(4)


class Read(NamedTuple):
    """What a reply says: the option is null unless the status is ok."""

    option: int | None  # position in the labels
    status: str  # ok, unparsed, refused


UNPARSED, REFUSED = Read(None, "unparsed"), Read(None, "refused")


class _Patterns(NamedTuple):
    reads: list[Read]  # the answer for each group of the two patterns below
    whole: re.Pattern[str]  # a reply that is one decorated label
    token: re.Pattern[str]  # anything that may be a label
    named: re.Pattern[str]  # a label right after a verb
    announced: re.Pattern[str]  # what announces a label
    inflected: dict[int, re.Pattern[str]]  # "defecting" for Defect: no name, but a doubt


@lru_cache(maxsize=256)
def _compile(labels: tuple[str, ...]) -> _Patterns:
    heads, tails = zip(*(label.rpartition(" ")[::2] for label in labels), strict=True)
    numbered = len(set(heads)) == 1 and all(re.fullmatch(r"[A-Za-z]|\d+", t) for t in tails)
    cores = list(tails if numbered else labels)  # "1" names "Option 1" too
    if len({c.casefold() for c in cores}) < len(cores) or not all(c.isascii() and c for c in cores):
        raise ValueError(f"labels must be distinct, non-empty ASCII: {labels}")
    order = sorted(range(len(cores)), key=lambda k: -len(cores[k]))  # longest first

    def form(core: str) -> str:
        if len(core) == 1 and core.isalpha():
            return f"([{core.upper()}{core.lower()}])"
        if core.isdigit():  # not inside a decimal, no price
            return rf"(?<!\d\.)(?<![$€£])({core})(?!\.\d)"
        return "((?i:" + r"\s+".join(map(re.escape, core.split())) + "))"

    forms = "|".join(form(cores[k]) for k in order)
    head = re.escape(heads[0]) if numbered and heads[0] else "option"
    deco = r"[\s*_(\[{$\\]"
    whole = (
        rf"{deco}*(?:(?:(?:the|my) )?(?:final )?(?:answer|choice)"
        rf"(?:[\s*_]*:|{deco}+is:?(?=\W)|(?=\W)){deco}*)?(?:(?:option|{head}):?{deco}+)?"
        rf"(?:boxed\{{)?(?:\\text(?:bf)?\{{)?(?:{forms})[\s*_)\]}}$.!]*"
    )
    stems = {k: re.escape(c.removesuffix("e")) for k, c in enumerate(cores) if len(c) > 2}
    return _Patterns(
        [UNPARSED, *(Read(k, "ok") for k in order)],
        re.compile(whole, re.I | re.A),  # ASCII: a dotless i is no "i"
        re.compile(rf"(?<!\w)(?<!\w')(?:{forms})(?!\w)(?!'(?!s\b)\w)"),
        re.compile(rf"[ (\[*]{{0,3}}(?:[Oo]ption )?(?!a\b)(?:{forms})(?!\w)"),
        p.any_of(rf"\b(?:{p.NOUNS}|{p.VERBS}|{head}){p.FILLERS}{p.OPENERS}"),
        {
            k: p.any_word(rf"{stem}(?:es?|e?d|ing|i?ons?|[oe]rs?|ive\w*|s)")
            for k, stem in stems.items()
            if not stem.isdigit()
        },
    )


def _plain(text: str) -> str:
    """One sentence per line, quotation marks all alike, emphasis gone."""
    text = re.sub(r"[\r\v\f\x1c-\x1e]", "\n", p.HIDDEN.sub("", text))
    text = re.sub(r"[^\S\n]+", " ", p.QUOTE.sub('"', p.QUOTED_LINE.sub(r'"\1"', text)))
    text = p.EMPHASIS.sub("", p.EMPHASISED_A.sub("(A)", text))
    text = p.DOTTED.sub(lambda m: "".join(filter(None, m.groups())), text)
    return p.ENDS.sub(r"\1\n", p.RUNS_ON.sub(r"\1 ", text))


def _judge(name: str, before: str, after: str, announced: re.Pattern[str]) -> int:
    """Tell whether a token names an option, from its surroundings."""
    pronoun = p.PRONOUN_JOINED if p.JOINED.search(before[-16:]) else p.PRONOUN
    if name in "Ii" and not after[1:3].istitle() and pronoun.match(after):  # no "I Choose"
        return PROSE
    if name == "a" and not p.OPTION.search(before) and p.ARTICLE_LOW.match(after):
        return DOUBT if p.COLON.search(before) and announced.search(before) else PROSE
    if p.ODD_BEFORE.search(before[-16:]) or p.ODD_AFTER.match(after):
        return DOUBT
    if not name.isdigit() and (len(name) > 1 or (name.isupper() and name not in "AI")):
        return NAMED
    marked = announced.search(before)
    if name in "ai":
        return NAMED if marked and p.END.match(after) else DOUBT
    alone = p.START.match(before) and p.START_END.match(after)
    if alone or (before[-1:] in ("(", "[", "{") and after[:1] in (")", "]", "}")):
        return NAMED
    if name not in "AI":  # a number, or another small letter
        if name.isdigit() and not marked and p.UNIT.match(after.lstrip()):
            return PROSE
        return NAMED if marked else DOUBT
    if (marked and p.END.match(after)) or p.OPTION.search(before) or p.IS.match(after.lstrip()):
        return NAMED
    return LEADING_A if name == "A" and p.START.match(before) and p.ARTICLE.match(after) else DOUBT


def read_option(reply: str, labels: Sequence[str]) -> Read:
    """Find the one option that a reply names.

    A reply that names no option, two options, or one in a negation, quotation, question or
    condition is unparsed. Takes time linear in the reply; no reply raises.

    Args:
        reply: What the model wrote.
        labels: The options' labels in the order shown, distinct ASCII.

    Returns:
        The option's position with status ok, or null with status unparsed or refused.
    """
    pats = _compile(tuple(labels))
    if len(reply) <= 80 and (match := pats.whole.fullmatch(reply)):
        return pats.reads[match.lastindex or 0]

    def veil(text: str) -> str:  # a word label may itself say "Refuse"
        return pats.token.sub("§", text) if pats.inflected else text

    text = reply if reply.isascii() else reply.translate(p.PLAIN)
    blurred = p.BLURRED.search(text)
    text = _plain(text)
    # "I won't choose A" refuses an option, not to choose.
    acts = list(p.REFUSAL.finditer(text))
    about = [m[0].lower().endswith(p.PICKS) and pats.named.match(text, m.end()) for m in acts]
    if not all(about) or p.REFUSAL_VERB.search(veil(text)):
        return REFUSED
    if (
        acts
        or blurred
        or (not text.isascii() and p.ALIEN.search(text))
        or p.TAKEN_BACK.search(text)
    ):
        return UNPARSED

    found: set[int] = set()  # groups of the pattern
    leading_a = quoted = loose = False
    before = ""
    contexts: list[str] = []  # what precedes the last mentions

    def announced() -> bool:  # not merely "Option B ...", which chooses nothing yet
        return any(pats.announced.search(c) and not p.OPENING.match(c) for c in contexts)

    sentences = [s for s in text.split("\n") if s.strip()]
    for sentence in sentences:
        places: list[int] = []
        for match in pats.token.finditer(sentence):
            left, right = match.span()
            context = sentence[max(0, left - 40) : left]
            verdict = _judge(match[0], context, sentence[right : right + 40], pats.announced)
            if verdict == DOUBT:
                return UNPARSED
            leading_a |= verdict == LEADING_A
            if verdict == NAMED:
                contexts = [*(contexts if places else [])[-8:], context]
                found.add(match.lastindex or 0)
                places.append(left)
        veiled = veil(sentence)
        negated = contexts and p.UNLESS.search(veiled)
        if places:
            first, last = sentence.find('"'), sentence.rfind('"')
            if (
                len(found) > 1
                or negated
                or quoted
                or sentence.count('"', 0, places[0]) % 2
                or any(first < k < last for k in places)
                or "?" in sentence
                or p.OTHERS.search(veiled)
                or p.COMPARED.search(sentence, 0, places[-1])
                or (p.POINTS_ON.search(before) and p.UNLESS.search(before) and not announced())
            ):
                return UNPARSED
            loose = len(sentence) > 24
        elif p.ANSWER.search(sentence) or (found and p.THEN_NO.match(sentence)):
            return UNPARSED  # announces something else, or takes the option back
        elif loose and negated and p.POINTS_BACK.search(sentence) and not announced():
            return UNPARSED  # "B is on offer. I will not take it."
        quoted ^= bool(sentence.count('"') % 2)
        before = veiled
    if len(found) != 1:
        return UNPARSED
    read = pats.reads[found.pop()]
    if leading_a:  # tolerated only above one closing "Answer: X"
        answers = [s for s in sentences if re.match(r"\W*(?:final )?answer\s*:", s, re.I)]
        if answers != sentences[-1:] or not pats.whole.fullmatch(answers[0][:80]):
            return UNPARSED
    rest = veil(text)
    doubts = [k for k, pattern in pats.inflected.items() if pattern.search(rest)]
    return read if set(doubts) <= {read.option} else UNPARSED
