"""Which one option a free-text reply names, or none: when in doubt, none."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple


def _re(*parts: str, flags: int = re.IGNORECASE) -> re.Pattern[str]:
    return re.compile("|".join(parts), flags)


def _words(*parts: str) -> re.Pattern[str]:
    return re.compile(r"\b(?:" + "|".join(parts) + r")\b", re.IGNORECASE)


# Curly apostrophes and full-width forms are ways to type ASCII; other look-alikes are not (ALIEN).
PLAIN = {0x2018: "'", 0x2019: "'", 0x02BC: "'", 0x3002: ". ", 0x3000: " ", 0xA0: " ", 0x85: "\n"}
PLAIN |= {0x2028: "\n", 0x2029: "\n"} | {0xFF01 + k: chr(0x21 + k) for k in range(94)}
# Invisible characters go, but between two letters they (or *) blur where a word ends.
UNSEEN = (
    r"\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f\xad\u061c\u180e\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f"
)
HIDDEN = _re(f"[{UNSEEN}]")
BLURRED = _re(rf"[^\W_][{UNSEEN}*]+[^\W\d_]", rf"[^\W\d_][{UNSEEN}*]+[^\W_]")
# Homoglyphs, other scripts, overstruck and boxed letters might name an option unseen.
ALIEN = _re(
    "[^\\W_0-9A-Za-zÀ-ÖØ-öø-įĲ-žƀ-ɏ¹²³¼½¾]",
    "[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]",
    "[\u24b6-\u24e9\U0001f110-\U0001f189\U0001f1e6-\U0001f1ff]",
    flags=0,
)
# Whatever quotes or strikes out becomes one sign, to be counted. A plural's "s' " does not.
QUOTED_LINE = _re(r"^[ \t]*(?:>|&gt;)(.*)$", flags=re.M)
QUOTE = _re(
    r"[“”„‟«»‹›‚‛「」『』`´]|~~|</?(?:s|q|del|strike|blockquote|code)>|<!--|-->",
    r"(?<!\w)'|'(?![\w\s])|(?<![s\s])'(?!\w)",
)
EMPHASISED_A = _re(r"(?<=[*_])A(?=[*_])", flags=0)  # no article
EMPHASIS = _re(r"\*+|(?<![^\W_])_+|_+(?![^\W_])")
# Dots inside a sentence, ends of sentences, and line breaks inside a sentence.
DOTTED = _re(r"\b(?:(e)\.\s?(g)|(i)\.(e)|([ap])\.(m)|(vs|etc|[Mm]rs?|[Dd]r))\.", flags=0)
ENDS = _re(r"((?<!\.)[.!?][)\]}\"]*)[ \t]+")
RUNS_ON = _re(
    r"([,:;(–—-]|\b(?:is|be|are|was|not|never|no|choose|pick|select|option|with|the|of|for|to|and"
    r"|or|than|over|except|avoid|reject|if|only)\b)[ \t]*\n\s*"
)

ACT = (
    r"(?:answer|choose|pick|select|decide|help|assist|comply|respond|participate|engage|provide"
    r"|fulfil|continue|(?:make|give|do|express) (?:an?|any|this|that|the|such|my|you))\b(?! but)"
)
REFUSAL = _re(
    r"\bi(?:'m| am)(?: \w+)? sorry\b|\bi (?:must )?apologi[sz]e\b|^\W*(?:sorry|apologies)\b",
    r"\b(?:as|i'm|i am)(?: just)? an? (?:ai\b|artificial|(?:\w+ )?(?:language model|assistant))",
    rf"\b(?:unable|unwilling|not (?:able|willing|comfortable)|refuse|declin(?:e|ing)) to {ACT}",
    r"\bi (?:\w+ ){0,2}?(?:can't|cant|cannot|can not|won't|wont|will not|am not going to)"
    rf"(?: \w+)? (?:{ACT}|(?=\W*$))",
    r"\bi (?:can't|cannot|won't|will not)\W*$",
)
REFUSAL_VERB = _re(r"\bi(?:'d)? (?:\w+ )?(?:to )?(?:refuse|decline)\b")  # may be a label's word

# In a mention's sentence these mean that it may not be the choice: negation and dispraise;
# condition, hedge and example; what was thought, asked or done before.
UNLESS = _words(
    r"not|\w+n't|(?:do|does|did|wo|ca|would|could|should|is|are|was)nt|cannot|never|no|none|neither",
    r"nor|nothing|nope|hardly|barely|scarcely|without|avoid\w*|reject\w*|refus\w*|declin\w*|besides|forgo|ignor\w+",
    r"except(?:ing|ed)?|but|instead|unlike|against|(?:rather|other|less|worse) than|exclud\w*",
    r"(?:apart|aside|away|far) from|rul\w+ out|eliminat\w+|discard\w*|dismiss\w*|abandon\w*",
    r"refrain\w*|oppos\w+|dislik\w+|hat(?:e|es|ed|ing)|skip\w*|drop\w*|worst|bad|wrong",
    r"terrible|awful|unfair|unacceptable|false|incorrect|least (?:prefer\w*|favou?rite)",
    r"nicht|kein\w*|ohne|pas|jamais|non|não|nunca|sin",
    r"if|unless|whether|suppos\w+|assum\w+|imagin\w+|hypothetical\w*|in case|(?:were|had) (?:i|we)",
    r"should (?:i|we)|(?:would|could|should|might) have|might|maybe|perhaps|either|unsure",
    r"undecided|eg|for (?:example|instance)|such as|do (?:you|i|we)|what about|how about|initially",
    r"at first|originally|first thought|tempt\w+|consider(?:ed|ing)|previous\w*|earlier|used to",
    r"last (?:time|round)",
)
# Somebody else's choice ("§" stands for a word label); and what precedes the lesser of two.
OTHERS = _re(
    r"\b(?:they|he|she|it|you|others?|opponents?|partners?|players?|persons?|people|someone|everyone"
    r"|anyone|who|most)(?:'ll|'d)?(?: (?:will|would|may|can|could|should|must|has|have|had|to|also"
    r"|\w+ly)){0,3} (?:§|(?:choos|chose|pick|select|prefer|play|went|goe?s?\b|want|opt)\w*)",
)
COMPARED = _words("than|over|versus|vs|beats?|opposite of")
# Said anywhere, or at the start of a later sentence, these take an answer back.
TAKEN_BACK = _words(
    r"kidding|joking|never ?mind|on second thought|scratch that|strike that|correction|oops",
    r"chang\w+ my mind|tak\w+ (?:that|it) back|(?:ignore|forget|disregard) (?:that|this|it|my)",
)
THEN_NO = _re(r"\W*(?:(?:no|not)\s*(?:[,.!;—–-]|$)|not really|nope|nah|wait|actually|hmm|sorry)")
POINTS_BACK = _words("it|that|this|one")
POINTS_ON = _re(r"\b(?:option|one|choice|letter|answer)s?\b|\?")
ANSWER = _re(r"\b(?:answer|choice)\s*(?::|=|is\b)")

# What stands just before and just after a token, in up to 40 characters of its sentence.
NOUNS = "answer|choice|option|letter|decision|selection|pick|preference|best|fairest|number"
VERBS = (
    r"choos\w+|chose|pick\w*|select\w*|(?:go|going|opt|opting|vote) (?:with|for)|settle on|prefer"
    r"|say|take|think"
)
FILLERS = rf"(?: (?:for me|is|be|would|will|the|simply|{NOUNS}))*"
OPENERS = r"[\s:=\-–—(\[{<$\\]*(?:boxed|text\w*)?[({\[]*$"
OPENING = _re(r"\W*(?:the )?option\W{0,3}$")
OPTION = _re(r"\b(?:option|letter)\W{0,3}$")
START = _re(r"\W{0,8}$")
END = _re(r"\s*(?:$|[.,;:!)\]}>—–\\$]|(?:because|since|given|due to|as it)\b)")
START_END = _re(r"\s*(?:$|[.:!)\]}>\\$]|,?\s*(?:because|since)\b)")
ODD_BEFORE = _re(
    r"(?:\w-|[+#/@^&']|\w\.|\bor\W{1,3}(?:option )?\W?|\b(?:player|person|agent|participant|partner"
    r"|type|plan|vitamin|grade|class|team|group|model|mrs?|dr|scenario|round|level|part|step) )$",
)
ODD_AFTER = _re(r"[+#/@^&]|-\w|\.\w|'(?!s\b)|\W{0,2}\s*or\b")
# After a letter, the third person makes it an option; after "a" a link word makes it no article.
IS = _words(
    "is|has|gives|seems|offers|provides|maximi[sz]es|yields|looks|benefits|results|leads|allows",
    "ensures|means|makes|gets|balances|helps",
)
ARTICLE_LOW = _re(
    r"\s+(?!(?:is|was|are|has|gives?|gave|seems|looks|would|will|and|or|over|to|than|vs|versus|not"
    r"|through|because|since|as|if|but|with|in|on|for|beats|costs?)\b)[\"(\[$]{0,2}\w{2}"
)
ARTICLE = _re(  # "A fair split", but not "A fair, B not", "A better than" or "A cost me"
    r" (?:fair|fairer|good|equal|balanced|high|higher|low|small|smaller|large|larger|big|bigger"
    r"|little|generous|selfish|mutual|reasonable|rational|cooperative|kind|moral|decent|single)"
    r" (?!(?:for|to|than|then|and|but|nor|with|when|while|because|since|one)\b)[a-z]{3,}\b",
    flags=0,
)
# "I" is the pronoun before these and only these: an option, too, costs, gave, would be, was.
SURE = "think|believe|hope|choose|chose|feel|want|know|expect|prefer|am|trust|guess"
MIND = (
    rf"{SURE}|pick|picked|select|selected|go|opt|like|love|decide|decided|understand|see|consider"
    r"|care|value|need|wish|agree|suggest|recommend|say|vote|aim|try|find|assume|mean|appreciate"
    r"|enjoy|plan|intend|accept|take|answer(?! ?:)|settle|stick|respect|seek|refuse|decline|hurt"
)
DO = "get|give|keep|receive|earn|lose|share|make|gain|help|win|weigh|focus|look|have|do|don't"
ADVERB = r"(?: (?:\w+ly|also|just|still|do|not|always|never|rather|therefore|thus|now|both))"
MODAL = r"(?:would|will|can|could|should|may|must|did|cannot|can't|won't|(?:would|do|did|could)n't)"
PRONOUN = _re(rf"{ADVERB}{{0,2}} (?:(?:{MODAL}{ADVERB}{{0,2}} )?(?:{MIND})|{DO})\b")
JOINED = _re(r"(?<!\w)\w\W{0,2}\s*(?:,|&|and|or|to|through)\W{1,2}$")  # "B and I have": unclear
PRONOUN_JOINED = _re(rf" (?:{SURE})\b")  # "B and I think": clear
UNIT = _words("points?|coins?|tokens?|dollars?|credits?|units?|people|players?|rounds?")

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
        _re(rf"\b(?:{NOUNS}|{VERBS}|{head}){FILLERS}{OPENERS}"),
        {
            k: _words(rf"{stem}(?:es?|e?d|ing|i?ons?|[oe]rs?|ive\w*|s)")
            for k, stem in stems.items()
            if not stem.isdigit()
        },
    )


def _plain(text: str) -> str:
    """One sentence per line, quotation marks all alike, emphasis gone."""
    text = re.sub(r"[\r\v\f\x1c-\x1e]", "\n", HIDDEN.sub("", text))
    text = re.sub(r"[^\S\n]+", " ", QUOTE.sub('"', QUOTED_LINE.sub(r'"\1"', text)))
    text = EMPHASIS.sub("", EMPHASISED_A.sub("(A)", text))
    text = DOTTED.sub(lambda m: "".join(filter(None, m.groups())), text)
    return ENDS.sub(r"\1\n", RUNS_ON.sub(r"\1 ", text))


def _judge(name: str, before: str, after: str, announced: re.Pattern[str]) -> int:
    """Tell whether a token names an option, from its surroundings."""
    pronoun = PRONOUN_JOINED if JOINED.search(before[-16:]) else PRONOUN
    if name in "Ii" and not after[1:3].istitle() and pronoun.match(after):  # no "I Choose"
        return PROSE
    if name == "a" and not OPTION.search(before) and ARTICLE_LOW.match(after):
        return PROSE
    if ODD_BEFORE.search(before[-16:]) or ODD_AFTER.match(after):
        return DOUBT
    if not name.isdigit() and (len(name) > 1 or (name.isupper() and name not in "AI")):
        return NAMED
    marked = announced.search(before)
    if name in "ai":
        return NAMED if marked and END.match(after) else DOUBT
    alone = START.match(before) and START_END.match(after)
    if alone or (before[-1:] in ("(", "[", "{") and after[:1] in (")", "]", "}")):
        return NAMED
    if name not in "AI":  # a number, or another small letter
        if name.isdigit() and not marked and UNIT.match(after.lstrip()):
            return PROSE
        return NAMED if marked else DOUBT
    if (marked and END.match(after)) or OPTION.search(before) or IS.match(after.lstrip()):
        return NAMED
    return LEADING_A if name == "A" and START.match(before) and ARTICLE.match(after) else DOUBT


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

    text = reply if reply.isascii() else reply.translate(PLAIN)
    blurred = BLURRED.search(text)
    text = _plain(text)
    if REFUSAL.search(text) or REFUSAL_VERB.search(veil(text)):
        return REFUSED
    if blurred or (not text.isascii() and ALIEN.search(text)) or TAKEN_BACK.search(text):
        return UNPARSED

    found: set[int] = set()  # groups of the pattern
    leading_a = quoted = loose = False
    before = ""
    contexts: list[str] = []  # what precedes the last mentions

    def announced() -> bool:  # not merely "Option B ...", which chooses nothing yet
        return any(pats.announced.search(c) and not OPENING.match(c) for c in contexts)

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
        negated = contexts and UNLESS.search(veiled)
        if places:
            first, last = sentence.find('"'), sentence.rfind('"')
            if (
                len(found) > 1
                or negated
                or quoted
                or sentence.count('"', 0, places[0]) % 2
                or any(first < k < last for k in places)
                or "?" in sentence
                or OTHERS.search(veiled)
                or COMPARED.search(sentence, 0, places[-1])
                or (POINTS_ON.search(before) and UNLESS.search(before) and not announced())
            ):
                return UNPARSED
            loose = len(sentence) > 24
        elif ANSWER.search(sentence) or (found and THEN_NO.match(sentence)):
            return UNPARSED  # announces something else, or takes the option back
        elif loose and negated and POINTS_BACK.search(sentence) and not announced():
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
