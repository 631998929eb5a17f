"""What the reader of replies looks for, as patterns: quoting, doubt, refusal, announcement."""

import re


def any_of(*parts: str, flags: int = re.IGNORECASE) -> re.Pattern[str]:
    """Any of the parts, in any case."""
    return re.compile("|".join(parts), flags)


def any_word(*parts: str) -> re.Pattern[str]:
    """Any of the parts as whole words, in any case."""
    return re.compile(r"\b(?:" + "|".join(parts) + r")\b", re.IGNORECASE)


# Curly apostrophes and full-width forms are ways to type ASCII; other look-alikes are not (ALIEN).
PLAIN = {0x2018: "'", 0x2019: "'", 0x02BC: "'", 0x3002: ". ", 0x3000: " ", 0xA0: " ", 0x85: "\n"}
PLAIN |= {0x2028: "\n", 0x2029: "\n"} | {0xFF01 + k: chr(0x21 + k) for k in range(94)}
# Invisible characters go, but between two letters they (or *) blur where a word ends.
UNSEEN = (
    r"\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f\xad\u061c\u180e\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f"
)
HIDDEN = any_of(f"[{UNSEEN}]")
_GLUE = rf"_*[{UNSEEN}*][{UNSEEN}*_]*"
BLURRED = any_of(rf"[^\W_]{_GLUE}[^\W\d_]", rf"[^\W\d_]{_GLUE}[^\W_]")
# Homoglyphs, other scripts, overstruck and boxed letters might name an option unseen.
ALIEN = any_of(
    "[^\\W_0-9A-Za-zÀ-ÖØ-öø-įĲ-žƀ-ɏ¹²³¼½¾]",
    "[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]",
    "[\u24b6-\u24e9\U0001f110-\U0001f189\U0001f1e6-\U0001f1ff]",
    flags=0,
)
# Whatever quotes or strikes out becomes one sign, to be counted. A plural's "s' " does not.
QUOTED_LINE = any_of(r"^[ \t]*(?:>|&gt;)(.*)$", flags=re.M)
QUOTE = any_of(
    r"[“”„‟«»‹›‚‛「」『』`´]|~~|</?(?:s|q|del|strike|blockquote|code)>|<!--|-->",
    r"(?<!\w)'|'(?![\w\s])|(?<![s\s])'(?!\w)",
)
EMPHASISED_A = any_of(r"(?<![\w*])[*_]+A[*_]+(?![\w*])", flags=0)  # no article
EMPHASIS = any_of(r"\*+|(?<![^\W_])_+|_+(?![^\W_])")
# Dots inside a sentence, ends of sentences, and line breaks inside a sentence.
DOTTED = any_of(r"\b(?:(e)\.\s?(g)|(i)\.(e)|([ap])\.(m)|(vs|etc|[Mm]rs?|[Dd]r))\.", flags=0)
ENDS = any_of(r"((?<!\.)[.!?][)\]}\"]*)[ \t]+")
RUNS_ON = any_of(
    r"([,:;(–—-]|\b(?:is|be|are|was|not|never|no|choose|pick|select|option|with|the|of|for|to|and"
    r"|or|than|over|except|avoid|reject|if|only)\b)[ \t]*\n\s*"
)

ACT = (
    r"(?:answer|choose|pick|select|decide|help|assist|comply|respond|participate|engage|provide"
    r"|fulfil|continue|(?:make|give|do|express) (?:an?|any|this|that|the|such|my|you))\b(?! but)"
)
PICKS = ("choose", "pick", "select")  # of which one may refuse a single option
REFUSAL = any_of(
    r"\bi(?:'m| am)(?: \w+)? sorry\b|\bi (?:must )?apologi[sz]e\b|^\W*(?:sorry|apologies)\b",
    r"\b(?:as|i'm|i am)(?: just)? an? (?:ai\b|artificial|(?:\w+ )?(?:language model|assistant))",
    rf"\b(?:unable|unwilling|not (?:able|willing|comfortable)|refuse|declin(?:e|ing)) to {ACT}",
    r"\bi (?:\w+ ){0,2}?(?:can't|cant|cannot|can not|won't|wont|will not|am not going to)"
    rf"(?: \w+)? (?:{ACT}|(?=\W*$))",
    r"\bi (?:can't|cannot|won't|will not)\W*$",
)
REFUSAL_VERB = any_of(r"\bi(?:'d)? (?:\w+ )?(?:to )?(?:refuse|decline)\b")  # may be a label's word

# In a mention's sentence these mean that it may not be the choice: negation and dispraise;
# condition, hedge and example; what was thought, asked or done before.
UNLESS = any_word(
    r"not|\w+n't|(?:do|does|did|wo|ca|would|could|should|is|are|was)nt|cannot|never|no|none|neither",
    r"nor|nothing|nope|hardly|barely|scarcely|without|avoid\w*|reject\w*|refus\w*|declin\w*|besides|forgo|ignor\w+",
    r"except(?:ing|ed)?|but|instead|unlike|against|(?:rather|other|less|worse) than|exclud\w*",
    r"(?:apart|aside|away|far) from|rul\w+ out|eliminat\w+|discard\w*|dismiss\w*|abandon\w*",
    r"unable|unwilling|impossible|forbidden|incapable|reluctant|hesitant|refrain\w*|oppos\w+|dislik\w+|hat(?:e|es|ed|ing)|skip\w*|drop\w*|worst|bad|wrong",
    r"terrible|awful|unfair|unacceptable|false|incorrect|least (?:prefer\w*|favou?rite)",
    r"nicht|kein\w*|ohne|pas|jamais|non|não|nunca|sin",
    r"if|unless|whether|suppos\w+|assum\w+|imagin\w+|hypothetical\w*|in case|(?:were|had) (?:i|we)",
    r"should (?:i|we)|(?:would|could|should|might) have|might|maybe|perhaps|either|unsure",
    r"undecided|eg|for (?:example|instance)|such as|do (?:you|i|we)|what about|how about|initially",
    r"at first|originally|first thought|tempt\w+|consider(?:ed|ing)|previous\w*|earlier|used to",
    r"last (?:time|round)",
)
# Somebody else's choice ("§" stands for a word label); and what precedes the lesser of two.
OTHERS = any_of(
    r"\b(?:they|he|she|it|you|others?|opponents?|partners?|players?|persons?|people|someone|everyone"
    r"|anyone|who|most)(?:'ll|'d)?(?: (?:will|would|may|can|could|should|must|has|have|had|to|also"
    r"|\w+ly)){0,3} (?:§|(?:choos|chose|pick|select|prefer|play|went|goe?s?\b|want|opt)\w*)",
)
COMPARED = any_word("than|over|versus|vs|beats?|opposite of")
# Said anywhere, or at the start of a later sentence, these take an answer back.
TAKEN_BACK = any_word(
    r"kidding|joking|never ?mind|on second thought|scratch that|strike that|correction|oops",
    r"chang\w+ my mind|tak\w+ (?:that|it) back|(?:ignore|forget|disregard) (?:that|this|it|my)",
)
THEN_NO = any_of(r"\W*(?:(?:no|not)\s*(?:[,.!;—–-]|$)|not really|nope|nah|wait|actually|hmm|sorry)")
POINTS_BACK = any_word("it|that|this|one")
POINTS_ON = any_of(r"\b(?:option|one|choice|letter|answer)s?\b|\?")
ANSWER = any_of(r"\b(?:answer|choice)\s*(?::|=|is\b)")

# What stands just before and just after a token, in up to 40 characters of its sentence.
NOUNS = "answer|choice|option|letter|decision|selection|pick|preference|best|fairest|number"
VERBS = (
    r"choos\w+|chose|pick\w*|select\w*|(?:go|going|opt|opting|vote) (?:with|for)|settle on|prefer"
    r"|say|take|think"
)
FILLERS = rf"(?: (?:for me|is|be|would|will|the|simply|{NOUNS}))*"
OPENERS = r"[\s:=\-–—(\[{<$\\]*(?:boxed|text\w*)?[({\[]*$"
OPENING = any_of(r"\W*(?:the )?option\W{0,3}$")
OPTION = any_of(r"\b(?:option|letter)\W{0,3}$")
COLON = any_of(r"[:=]\W{0,4}$")
START = any_of(r"\W{0,8}$")
END = any_of(r"\s*(?:$|[.,;:!)\]}>—–\\$]|(?:because|since|given|due to|as it)\b)")
START_END = any_of(r"\s*(?:$|[.:!)\]}>\\$]|,?\s*(?:because|since)\b)")
ODD_BEFORE = any_of(
    r"(?:\w-|[+#/@^&']|\w\.|\bor\W{1,3}(?:option )?\W?|\b(?:player|person|agent|participant|partner"
    r"|type|plan|vitamin|grade|class|team|group|model|mrs?|dr|scenario|round|level|part|step) )$",
)
ODD_AFTER = any_of(r"[+#/@^&]|-\w|\.\w|'(?!s\b)|\W{0,2}\s*or\b")
# After a letter, the third person makes it an option; after "a" a link word makes it no article.
IS = any_word(
    "is|has|gives|seems|offers|provides|maximi[sz]es|yields|looks|benefits|results|leads|allows",
    "ensures|means|makes|gets|balances|helps",
)
ARTICLE_LOW = any_of(
    r"\s+(?!(?:is|was|are|has|gives?|gave|seems|looks|would|will|and|or|over|to|than|vs|versus|not"
    r"|through|because|since|as|if|but|with|in|on|for|beats|costs?)\b)[\"(\[$]{0,2}\w{2}"
)
ARTICLE = any_of(  # "A fair split", but not "A fair, B not", "A better than" or "A cost me"
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
PRONOUN = any_of(rf"{ADVERB}{{0,2}} (?:(?:{MODAL}{ADVERB}{{0,2}} )?(?:{MIND})|{DO})\b")
JOINED = any_of(r"(?<!\w)\w\W{0,2}\s*(?:,|&|and|or|to|through)\W{1,2}$")  # "B and I have": unclear
PRONOUN_JOINED = any_of(rf" (?:{SURE})\b")  # "B and I think": clear
UNIT = any_word("points?|coins?|tokens?|dollars?|credits?|units?|people|players?|rounds?")
