"""Which one option a free-text reply names, or none: when in doubt, none."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

I = re.IGNORECASE  # noqa: E741 - the flag's own short name

# Curly apostrophes and full-width forms are ways to type ASCII; every other look-alike is not.
PLAIN = {0x2019: "'", 0x2018: "'", 0x02BC: "'", 0x3002: ". ", 0x3000: " ", 0xA0: " "}
PLAIN |= {0xFF01 + k: chr(0x21 + k) for k in range(94)} | dict.fromkeys((0x85, 0x2028, 0x2029), "\n")
# Invisible characters go, but between two letters they (or * marks) hide where a word ends.
UNSEEN = (
    r"\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f\xad\u061c\u180e\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f"
)
HIDDEN = re.compile(f"[{UNSEEN}]")
HIDES = re.compile(rf"[^\W\d][{UNSEEN}*]+[^\W\d]")
# Homoglyphs, other scripts, overstruck or boxed letters: could name an option we cannot see.
ALIEN = re.compile(
    "[^\\W_0-9A-Za-zÀ-ÖØ-öø-įĲ-žƀ-ɏ¹²³¼½¾]"
    "|[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
    "|[\u24b6-\u24e9\U0001f110-\U0001f189\U0001f1e6-\U0001f1ff]"
)
# Everything that quotes or strikes out becomes one sign, counted below. "s' " is a plural's.
QUOTED_LINE = re.compile(r"^[ \t]*(?:>|&gt;)(.*)$", re.M)
QUOTE = re.compile(
    r"[“”„‟«»‹›‚‛「」『』`´]|~~|</?(?:s|q|del|strike|blockquote|code)>|<!--|-->"
    r"|(?<!\w)'|'(?![\w\s])|(?<![s\s])'(?!\w)",
    I,
)
EMPHASIS = re.compile(r"\*+|(?<![^\W_])_+|_+(?![^\W_])")
# Dots that end no sentence; then sentence ends; then line breaks that end no sentence.
DOTTED = re.compile(r"\b(?:(e)\.\s?(g)|(i)\.(e)|([ap])\.(m)|(vs|etc|mr|mrs|dr))\.", I)
ENDS = re.compile(r"((?<!\.)[.!?][)\]}\"]*)[ \t]+")
RUNS_ON = re.compile(
    r"([,:;(–—-]|\b(?:is|be|are|was|not|never|no|choose|pick|select|option|with|the|of|for|to|and"
    r"|or|than|over|except|avoid|reject|if|only)\b)[ \t]*\n\s*",
    I,
)

ACT = r"(?:answer|choose|pick|select|decide|help|assist|comply|respond|participate|engage|provide"
ACT += r"|fulfil|continue|(?:make|give|do|express)\s+(?:a|an|any|this|that|the|such|my|you))\b(?! but)"
REFUSAL = re.compile(
    r"\bi(?:'m| am)(?: \w+)? sorry\b|\bi (?:must )?apologi[sz]e\b|^\W*(?:sorry|apologies)\b"
    r"|\bas an? (?:ai\b|artificial|(?:\w+ )?language model|(?:\w+ )?assistant)"
    r"|\bi(?:'m| am) (?:just |only )?an? (?:ai\b|(?:\w+ )?language model)"
    rf"|\b(?:unable|not able|not comfortable|not willing|unwilling|refuse|declin(?:e|ing)) to {ACT}"
    r"|\bi (?:\w+ ){0,2}?(?:can't|cant|cannot|can not|won't|wont|will not|am not going to)"
    rf"(?: \w+)? (?:{ACT}|(?=\W*$))|\bi (?:can't|cannot|won't|will not)\W*$",
    I,
)
REFUSAL_VERB = re.compile(r"\bi(?:'d)? (?:\w+ )?(?:to )?(?:refuse|decline)\b", I)  # may be a label

# In a mention's sentence, these mean that it may not be the choice: negation and dispraise, ...
UNLESS = (
    r"not|\w+n't|(?:do|does|did|wo|ca|would|could|should|is|are|was)nt|cannot|never|no|none|neither"
    r"|nor|nothing|nope|hardly|barely|scarcely|without|avoid\w*|reject\w*|refus\w*|declin\w*|exclud\w*"
    r"|except(?:ing|ed)?|but|instead|unlike|against|(?:rather|other|less|worse) than|besides"
    r"|(?:apart|aside|away|far) from|rul\w+ out|eliminat\w+|discard\w*|dismiss\w*|forgo|forego"
    r"|abandon\w*|refrain\w*|oppos\w+|dislik\w+|hat(?:e|es|ed|ing)|skip\w*|drop\w*|worst|bad|wrong"
    r"|terrible|awful|unfair|unacceptable|false|incorrect|least (?:prefer\w*|favou?rite)|ignor\w+"
    r"|nicht|kein\w*|ohne|pas|jamais|non|não|nunca|tampoco|sin"
    # ... condition, hedge, example, ...
    r"|if|unless|whether|suppos\w+|assum\w+|imagin\w+|hypothetical\w*|in case|(?:were|had) (?:i|we)"
    r"|should (?:i|we)|(?:would|could|should|might) have|might|maybe|perhaps|either|unsure|undecided"
    r"|eg|for (?:example|instance)|such as"
    # ... and what was thought, asked or done before.
    r"|initially|originally|at first|first thought|tempt\w+|consider(?:ed|ing)|previous\w*|earlier"
    r"|last (?:time|round)|used to|do (?:you|i|we)|what about|how about"
)
UNLESS_RE = re.compile(rf"\b(?:{UNLESS})\b", I)
# Somebody else's choice ("§" stands for a word label).
OTHERS = re.compile(
    r"\b(?:they|he|she|it|you|others?|opponents?|partners?|players?|persons?|people|someone|everyone"
    r"|anyone|who|most)(?:'ll|'d)?(?: (?:will|would|may|can|could|should|must|has|have|had|to|also"
    r"|\w+ly)){0,3} (?:§|(?:choos|chose|pick|select|prefer|play|went|goe?s?\b|want|opt)\w*)",
    I,
)
COMPARED = re.compile(r"\b(?:than|over|versus|vs|beats?|opposite of)\b", I)  # before a mention
# Said anywhere, or opening a later sentence, these take an answer back.
TAKEN_BACK = re.compile(
    r"\b(?:kidding|joking|never ?mind|on second thought|scratch that|strike that|correction|oops"
    r"|chang\w+ my mind|tak\w+ (?:that|it) back|(?:ignore|forget|disregard) (?:that|this|it|my))\b",
    I,
)
THEN_NO = re.compile(r"\W*(?:(?:no|not)\s*(?:[,.!;—–-]|$)|nope|nah|wait|actually|hmm|sorry|not really)", I)
POINTS_BACK = re.compile(r"\b(?:it|that|this|one)\b", I)
POINTS_ON = re.compile(r"\b(?:option|one|choice|letter|answer)s?\b|\?", I)
ANSWER = re.compile(r"\b(?:answer|choice)\s*(?::|=|is\b)", I)

# What stands just before and just after a token.
NOUNS = "answer|choice|option|letter|decision|selection|pick|preference|best|fairest|number"
VERBS = r"choos\w+|chose|pick\w*|select\w*|go(?:ing)? (?:with|for)|opt(?:ing)? for|vote for|prefer|say"
OPENERS = r"[\s:=\-–—(\[{<$\\]*(?:boxed|text\w*)?[({\[]*$"
MARKED = rf"\b(?:{NOUNS}|{VERBS}|settle on|take|PREFIX)(?: (?:for me|is|be|would|will|the|simply|{NOUNS}))*"
OPTION = re.compile(r"\b(?:option|letter)\W{0,3}$", I)
START = re.compile(r"\W{0,8}$")  # matched on up to 40 characters: the sentence starts here
END = re.compile(r"\s*(?:$|[.,;:!)\]}>—–\\$]|(?:because|since|given|due to|as it)\b)", I)
START_END = re.compile(r"\s*(?:$|[.:!)\]}>\\$]|,?\s*(?:because|since)\b)", I)
ODD_BEFORE = re.compile(
    r"(?:\w-|[+#/@^&']|\w\.|\bor\W{1,3}(?:option )?\W?|\b(?:player|person|agent|participant|partner"
    r"|type|plan|vitamin|grade|class|team|group|model|mrs?|dr|scenario|round|level|part|step) )$",
    I,
)
ODD_AFTER = re.compile(r"[+#/@^&]|-\w|\.\w|'(?!s\b)|\W{0,2}\s*or\b", I)
JOINED = re.compile(r"(?<!\w)\w\W{0,2}\s*(?:,|&|and|or|to|through)\W{1,2}$", I)  # "B and I"
# Third person, so the letter before it is an option; and words that cannot follow an article.
IS = re.compile(
    r"\s+(?:is|has|gives|seems|offers|provides|maximi[sz]es|yields|looks|benefits|results|leads"
    r"|allows|ensures|means|makes|gets|balances|helps)\b"
)
LINK = r"is|was|are|has|gives?|gave|seems|looks|would|will|and|or|over|to|than|vs|versus|through"
LINK += r"|because|since|as|if|but|with|in|on|for|beats|costs?|not"
ARTICLE_LOW = re.compile(rf"\s+(?!(?:{LINK})\b)[\"(\[$]{{0,2}}\w{{2}}", I)
ARTICLE = re.compile(  # "A fair split", not "A fair, B not", "A better than", "A cost me"
    r" (?:fair|fairer|good|equal|balanced|high|higher|low|small|smaller|large|larger|big|bigger|little"
    r"|generous|selfish|mutual|reasonable|rational|cooperative|kind|moral|decent|single|simple)"
    r" (?!(?:for|to|than|then|and|but|nor|with|when|while|because|since)\b)[a-z]{3,}\b"
)
# "I" is the pronoun before these, and only these: an option gives, costs, would be, was, had.
SURE = r"think|believe|hope|choose|chose|feel|want|know|expect|prefer|am|trust|guess"
MIND = (
    SURE + r"|pick|picked|select|selected|go|opt|like|love|decide|decided|understand|see|consider|care"
    r"|value|need|wish|agree|suggest|recommend|say|vote|aim|try|find|assume|mean|appreciate|enjoy|plan"
    r"|intend|accept|take|answer|settle|stick|respect|seek|refuse|decline|hurt"
)
DO = r"get|give|keep|receive|earn|lose|share|make|gain|help|win|weigh|focus|balance|look|have|do|don't"
ADVERB = r"(?: (?:\w+ly|also|just|still|do|not|always|never|rather|therefore|thus|now|both))"
MODAL = r"(?:would|will|can|could|should|may|must|did|cannot|won't|can't|(?:would|do|did|could)n't)"
PRONOUN = re.compile(
    rf"'(?:d|ll|m|ve)\b|{ADVERB}{{0,2}} (?:(?:{MODAL}{ADVERB}{{0,2}} )?(?:{MIND})|{DO})\b", I
)
PRONOUN_SURE = re.compile(rf"'(?:d|ll|m|ve)\b| (?:{SURE})\b", I)  # "B and I think", not "B and I have"
UNIT = re.compile(r"\s*(?:%|points?|coins?|tokens?|dollars?|credits?|units?|people|players?|rounds?)\b")

NAMED, PROSE, LEADING_A, DOUBT = range(4)


class Read(NamedTuple):
    """What a reply says: ``status`` is ok, unparsed or refused; ``option`` is null unless ok."""

    option: int | None  # position in the labels
    status: str


UNPARSED, REFUSED = Read(None, "unparsed"), Read(None, "refused")


class _Patterns(NamedTuple):
    reads: list[Read]  # the answer for each group of the two patterns below
    whole: re.Pattern[str]  # a reply that is one decorated label
    token: re.Pattern[str]  # anything that may be a label
    marked: re.Pattern[str]  # what announces a label
    inflected: dict[int, re.Pattern[str]]  # "defecting" for Defect: no name, but a doubt
    words: bool


@lru_cache(maxsize=256)
def _compile(labels: tuple[str, ...]) -> _Patterns:
    heads, tails = zip(*(label.rpartition(" ")[::2] for label in labels), strict=True)
    numbered = len(set(heads)) == 1 and all(re.fullmatch(r"[A-Za-z]|\d+", t) for t in tails)
    cores = list(tails if numbered else labels)  # "Option 1" is also named by "1"
    if len({c.casefold() for c in cores}) < len(cores) or not all(c.isascii() and c for c in cores):
        raise ValueError(f"labels must be distinct, non-empty ASCII: {labels}")
    order = sorted(range(len(cores)), key=lambda k: -len(cores[k]))  # longest first

    def form(core: str) -> str:
        if len(core) == 1 and core.isalpha():
            return f"([{core.upper()}{core.lower()}])"
        if core.isdigit():
            return rf"(?<!\d\.)(?<![$€£])({core})(?!\.\d)"
        return "((?i:" + r"\s+".join(map(re.escape, core.split())) + "))"

    forms = "|".join(form(cores[k]) for k in order)
    head = re.escape(heads[0]) if numbered and heads[0] else "option"
    deco = r"[\s*_(\[{$\\]"
    whole = rf"""{deco}*(?:(?:(?:the|my)\ )?(?:final\ )?(?:answer|choice)(?:[\s*_]*:|{deco}+is:?(?=\W)|(?=\W))
        {deco}*)?(?:(?:option|{head}):?{deco}+)?(?:boxed\{{)?(?:\\text(?:bf)?\{{)?(?:{forms})[\s*_)\]}}$.!]*"""
    inflected = {
        k: re.compile(rf"\b{re.escape(c.removesuffix('e'))}(?:es?|e?d|ing|i?ons?|[oe]rs?|ive\w*|s)\b", I)
        for k, c in enumerate(cores)
        if len(c) > 2 and not c.isdigit()
    }
    return _Patterns(
        [UNPARSED, *(Read(k, "ok") for k in order)],
        re.compile(whole, I | re.A | re.X),  # ASCII: "ı" is no "i"
        re.compile(rf"(?<!\w)(?:{forms})(?!\w)"),
        re.compile(MARKED.replace("PREFIX", head) + OPENERS, I),
        inflected,
        bool(inflected),
    )


def _judge(name: str, before: str, after: str, marked: bool) -> int:
    """Whether a token names an option, given up to 40 characters around it in its sentence."""
    if name in "Ii" and (PRONOUN_SURE if JOINED.search(before) else PRONOUN).match(after):
        return PROSE
    if name == "a" and ARTICLE_LOW.match(after):
        return PROSE
    if name.isdigit() and not marked and UNIT.match(after):
        return PROSE
    if ODD_BEFORE.search(before) or ODD_AFTER.match(after):
        return DOUBT
    start = START.match(before) and START_END.match(after)
    bracketed = before[-1:] in ("(", "[", "{") and after[:1] in (")", "]", "}")
    if len(name) > 1 and not name.isdigit() or name in "BCDEFGHJKLMNOPQRSTUVWXYZ":
        return NAMED
    if name in "AI":
        if marked and END.match(after) or start or bracketed or IS.match(after):
            return NAMED
        if OPTION.search(before):
            return NAMED
        opens = name == "A" and START.match(before) and ARTICLE.match(after)
        return LEADING_A if opens else DOUBT
    if name in "ai":
        return NAMED if marked and END.match(after) else DOUBT
    return NAMED if marked or start or bracketed else DOUBT


def _plain(text: str) -> str:
    """One sentence per line, quotation marks all alike, emphasis gone."""
    text = re.sub(r"[\r\v\f\x1c-\x1e]", "\n", HIDDEN.sub("", text))
    text = QUOTE.sub('"', QUOTED_LINE.sub(r'"\1"', text))
    text = DOTTED.sub(lambda m: "".join(filter(None, m.groups())), EMPHASIS.sub("", text))
    return ENDS.sub(r"\1\n", RUNS_ON.sub(r"\1 ", text))


def read_option(reply: str, labels: Sequence[str]) -> Read:
    """Find the one option that a reply names.

    A reply that names no option, two options, or one in a negation, quotation, question or
    condition is unparsed. Time is linear in the reply, and no text raises.

    Args:
        reply: What the model wrote.
        labels: The options' labels in the order shown, distinct ASCII.

    Returns:
        The option's position with status ok, or null with status unparsed or refused.
    """
    pats = _compile(tuple(labels))
    if len(reply) <= 80 and (match := pats.whole.fullmatch(reply)):
        return pats.reads[match.lastindex or 0]
    text = reply if reply.isascii() else reply.translate(PLAIN)
    hides = HIDES.search(text)
    text = _plain(text)
    veiled = pats.token.sub("§", text) if pats.words else text
    if REFUSAL.search(text) or REFUSAL_VERB.search(veiled):
        return REFUSED
    if hides or (not text.isascii() and ALIEN.search(text)) or TAKEN_BACK.search(text):
        return UNPARSED

    found: set[int] = set()  # groups of the pattern
    leading_a = quoted = announced = past = loose = False
    before = ""  # the sentence before
    sentences = [s for s in text.split("\n") if s.strip()]
    for sentence in sentences:
        places: list[int] = []
        marks = False
        for match in pats.token.finditer(sentence):
            left, right = match.span()
            left_text = sentence[max(0, left - 40) : left]
            marked = pats.marked.search(left_text) is not None
            verdict = _judge(match[0], left_text, sentence[right : right + 40], marked)
            if verdict == DOUBT:
                return UNPARSED
            if verdict == NAMED:
                found.add(match.lastindex or 0)
                places.append(left)
                marks |= marked
            leading_a |= verdict == LEADING_A
        veiled = pats.token.sub("§", sentence) if pats.words else sentence
        negated = UNLESS_RE.search(veiled) is not None
        if places:
            first, last = sentence.find('"'), sentence.rfind('"')
            if (
                len(found) > 1
                or negated
                or quoted
                or any(first < k < last for k in places)
                or sentence.count('"', 0, places[0]) % 2
                or "?" in sentence
                or OTHERS.search(veiled)
                or COMPARED.search(sentence, 0, places[-1])
                or (not marks and UNLESS_RE.search(before) and POINTS_ON.search(before))
            ):
                return UNPARSED
            loose = not marks and len(sentence) > 24
        elif ANSWER.search(sentence) or (found and THEN_NO.match(sentence)):
            return UNPARSED  # announces something that is no option, or takes it back
        elif loose and negated and POINTS_BACK.search(sentence):
            return UNPARSED  # "B is on offer. I will not take it."
        quoted ^= bool(sentence.count('"') % 2)
        past = places or past
        before = sentence
    if len(found) != 1:
        return UNPARSED
    if leading_a:  # tolerated only above one closing "Answer: X"
        announced = [s for s in sentences if re.match(r"\W*(?:final )?answer\s*:", s, I)]
        closing = sentences[-1].strip()
        if announced != [sentences[-1]] or len(closing) > 80 or not pats.whole.fullmatch(closing):
            return UNPARSED
    read = pats.reads[found.pop()]
    rest = pats.token.sub("§", text) if pats.words else ""
    if any(k != read.option and form.search(rest) for k, form in pats.inflected.items()):
        return UNPARSED
    return read
