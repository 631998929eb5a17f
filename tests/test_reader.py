import re
import time
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim.reader import read_option

NINE = tuple("ABCDEFGHI")
GAME = ("Cooperate", "Defect")
TEN = tuple(f"Option {k}" for k in range(1, 11))

# reply -> the letter it names
NAMES = {
    "C": "C", "C.": "C", "(C)": "C", " c ": "C", "**C**": "C", "[C]": "C", "C!": "C", "_C_": "C",
    "a": "A", "A": "A", "I": "I", "i.": "I", "A.": "A", "(A)": "A", "**I**": "I", "\nC\n": "C",
    "Answer: C": "C", "answer: c": "C", "Answer: A": "A", "answer: a": "A", "Answer: I": "I",
    "answer: i.": "I", "ANSWER: D": "D", "Answer:E": "E", "Answer E": "E", "**Answer:** F": "F",
    "**Answer: F**": "F", "Answer: **F**": "F", "Answer: (F)": "F", "Answer: Option G": "G",
    "Final answer: H": "H", "The answer is H.": "H", "My answer is A.": "A", "The answer is I": "I",
    "\\boxed{C}": "C", "$\\boxed{C}$": "C", "The answer is $\\boxed{\\text{D}}$.": "D",
    "Option C": "C", "option c": "C", "Option A": "A", "Option I": "I", "Choice: B": "B",
    "My choice: (D)": "D", "My choice is D": "D", "My choice:\n\n**D**": "D",
    "I would choose **Option C**.": "C",
    "I'd go with F because it gives the other person more.": "F",
    "I’d go with F because it gives the other person more.": "F", "i choose b": "B",
    "The best option for me is G.": "G", "I choose B": "B", "I choose A": "A", "I choose I": "I",
    "I choose I.": "I", "I choose A because it is fair.": "A", "I'd pick option a.": "A",
    "I'll take B.": "B", "I think B is the fairest.": "B", "I think A is best.": "A",
    "I would pick (b)": "B", "I will select option b": "B", "I would really like to choose H.": "H",
    "I definitely choose B.": "B", "I WOULD CHOOSE B": "B", "Option A is the best one.": "A",
    "I gives the largest sum.": "I", "A gives the largest sum.": "A", "B: 85/15": "B",
    "B) 85 points for me, 15 points for the other person": "B", "A: 85/85": "A", "A) 85/85": "A",
    "Answer: E\n\nBecause both of us get something.": "E", "C\nIt's fair to both.": "C",
    "B. I choose B": "B", "B. I choose option B. Answer: B": "B", "B\n\nB": "B",
    "A fair split matters to me. Answer: B": "B", "A fair split matters to me.\nAnswer: A": "A",
    "I think that a fair split matters.\nAnswer: I": "I", "I want a fair split. B": "B",
    "I do not want to hurt anyone. Answer: B": "B", "I don't like waste.\n\nAnswer: **D**": "D",
    "Not a hard one.\nAnswer: D": "D", "No problem! Answer: D": "D",
    "**Option C**\n\nI would not want them to go home with nothing.": "C",
    "Answer: E. It isn't perfect.": "E", "### Answer\n\nE": "E", "- **Answer:** E": "E",
    "I get 85 points and they get 85 points.\n\n**Answer: D**": "D", "<answer>B</answer>": "B",
    "Let me think.\n\n1. I care about both of us.\n2. The total matters.\n\nAnswer: G": "G",
    "I'm happy to decide. I value what both players get, so I'll go with E.": "E",
    "I want both players' payoffs to be high. Answer: B": "B", "B’s payoffs suit both of us.": "B",
    "As both get 85, I choose D 🙂": "D", "Answer：Ｂ": "B", "Ｂ": "B", "（B）": "B",
    "\u200fAnswer: B": "B", "\ufeffAnswer: B": "B", "Answer: B\x00": "B",
    "José would like that. Answer: B": "B", "Answer: B\r\n": "B", "Answer:\nB": "B",
    "Answer:\n\n(B)": "B",
}  # fmt: skip
# replies that name no one option
NULLS = [
    "", " ", "\n\t \n", "?", "…", "\x00", "\ud800", "\u202e", "85", "85/15", "J", "Answer: J", "AB",
    "Answer:", "Answer: none", "Answer: 5", "None of them.", "I think fairness matters.",
    "I'd say so.",
    "I would choose the fair one.", "A fair split matters to me.", "It is a good day, i think.",
    "Answer: a fair split", "Answer: A fair split", "B is nice. Answer: J", "Because", "Bob",
    "B2", "3B", "xB", "B_1", "_A_0", "0_A_", "0*_A_", "_A_*0",
    "Answer: a So", "A!B*_0", "B_*0. A", "**A**_B", "I won't choose A.\nAnswer: B",
    "I will not pick option B.", "I can't choose (B).", "Vitamin C", "C++ is fun",
    "Player B gets more", "Plan B it is",
    "http://x.org/B", "B.txt", "and/B", "D'accord", "R&B", "P.S. D.C. is fun", "U.S.A.", "T-B",
    # two options
    "A or B", "A/B", "A, B or C", "A-I", "A–I", "A to I", "B-D", "B–D", "B, C", "B C", "B and C",
    "B&C",
    "b or c", "Option b or c", "Option B or c", "Option b or a", "Answer: a or b", "Answer: B/a",
    "Answer: B\nAnswer: C", "Answer: B. Answer: C", "B. No, C.",
    "C is fine, D is better. Answer: D",
    "A: 85/85\nB: 85/76\nC: 85/67\nD: 85/59\nE: 85/50\nF: 85/41\nG: 85/33\nH: 85/24\nI: 85/15",
    "I over B", "A over B", "A is better than B", "A cost me, so B", "A cost me. So B", "I, B",
    "B and I have the same payoff.", "A better one is B", "A fair, B unfair", "B, not A", "A. B.",
    "A fair split matters to me. I choose B", "A good one. Answer: B", "(a) or (b)",
    "a is worse. B",
    "A was bad. Answer: B", "A put me off. Answer: B", "A fair one? Answer: B", "(i) is fair. B",
    "Any letter from A to I. Answer: B", "A\nB", "Answer: B\n\nA", "Who? I. Answer: B",
    "**A** or B",
    "I would be better. Answer: B", "I gave me more. Answer: B", "I cost less. Answer: B",
    "B, or a.",
    "Option I could be it. Answer: B", "Option A fair. Answer: B", "**A** fair split. Answer: B",
    "C's total is higher. Answer: B", "'C' is nice. Answer: B", "B or another", "B or so", "b c",
    # negation, dispraise, comparison
    "Not B", "not B.", "I don't choose B", "I don’t choose B", "I dont choose B", "I never pick B",
    "Anything but B", "Any option except B", "Neither B", "B? No.", "No to B", "I avoid B",
    "I reject B", "Rather than B, the fair one", "Instead of B, the other", "Other than B",
    "B isn't it",
    "Unlike B, it is fair", "I am against B", "All without B", "non-B", "Everything besides B",
    "I would never choose... B", "I would never choose\nB",
    "The option I would never choose is:\n\nB",
    "I would choose nothing less than B", "The fair one over B", "It is better than B",
    "B is the worst",
    "I hate B", "B is wrong", "~~B~~", "<s>B</s>", "Ich nehme nicht B", "I'd never pick e.g. B",
    "B. On second thought, hold on.", "B. No.", "B. Wait, let me see.", "B... just kidding",
    "Option B is on offer to both of us. I will not take it.", "Which one is the worst? B.",
    "There is one option that I would never take. B.", "I could not choose this letter: B", "no B",
    # quotation
    '"B"', "'B'", "“B”", "‘B’", "«B»", "„B“", "`B`", "```\nB\n```", "> B", ">B",
    "> I like it. B is best",
    'Answer: "B"', "You said 'choose B' to me",
    'He said "choose B" to me', '"I like it. B is best" he said',
    "“Answer: B”", '{"answer": "B"}', "‘Answer: B’", "``B''", "<!-- B -->",
    "'I think that B is best'",
    # question, condition, hedge, somebody else
    "Should I choose B?", "B?", "Is it B?", "What about B?", "if I chose B",
    "If I choose B, I get 85.",
    "B if they cooperate", "B unless they object", "Whether B is fair is unclear",
    "Suppose I choose B",
    "Had I chosen B", "I would have chosen B", "Maybe B", "I might choose B", "Either B",
    "Should I B",
    "The other player will choose B.", "They would pick B", "You chose B", "Most people choose B",
    "For example, B", "I chose B last time", "I considered B", "Do I choose B",
    # look-alikes and hidden characters
    "А", "Answer: А", "Answer: В", "Answer: Β", "В. Answer: B", "Answer: 𝐁", "𝐂 is good. Answer: B",
    "Ⓑ", "Ⅰ", "🅱", "B\u0336", "B\u20e3", "Answer: B\u200bC", "B\x08C", "℃", "ı", "答案不是 B",
    "**B**ecause",
]  # fmt: skip
REFUSALS = [
    "I can't choose any of them.", "I will not choose A. I'm sorry, I can't choose.",
    "I won't pick. Answer: B",
    "I'm sorry, I can't choose.", "I’m sorry, I can’t choose.", "I'm sorry, but B.",
    "I cannot answer.",
    "I can't answer that. B", "I won't choose.", "I will not choose. Answer: B",
    "I'm unable to choose.",
    "I am unable to answer this question. B", "As an AI, I have no preferences. B", "I can't.",
    "As an AI language model, I have no preferences, but I'd choose B.", "I refuse.", "I decline.",
    "I refuse to choose. Answer: B", "I must decline to answer.",
    "I am not able to help with that.",
    "Sorry, I cannot help.", "I apologize, but this is not for me.", "I cannot make a choice here.",
    "I'm just a language model. B", "I really can't decide. Answer: B", "AS AN AI MODEL, B",
]  # fmt: skip
WORDED = [  # labels, reply, position
    (GAME, "Cooperate", 0), (GAME, "defect", 1), (GAME, "I choose to cooperate.", 0),
    (GAME, "Answer: Defect", 1), (GAME, "**DEFECT**", 1),
    (GAME, "I cooperate. Answer: Cooperate", 0),
    (GAME, "A fair split matters to me. I will cooperate", 0), (GAME, "Not defect", None),
    (GAME, "I cooperate, they defect", None), (GAME, "Cooperate since defecting hurts", None),
    (GAME, "Cooperation is good", None), (GAME, "defective", None), (GAME, "non-cooperate", None),
    (GAME, "The other player will cooperate.", None), (GAME, "Cooperate or Defect", None),
    (GAME, '"Cooperate"', None), (GAME, "Should I cooperate?", None), (GAME, "C", None),
    (TEN, "Option 1", 0), (TEN, "Option 10", 9), (TEN, "10", 9), (TEN, "Answer: 3", 2),
    (TEN, "I choose option 10.", 9), (TEN, "Option 1 gives me 2 points.", 0),
    (TEN, "I get 85", None),
    (TEN, "Option 1 or 2", None), (TEN, "Options 1-3", None), (TEN, "Option 2 beats 3", None),
    (TEN, "Option 11", None), (TEN, "Option 1.5", None), (TEN, "I have 3 friends", None),
    (TEN, "3 is worse. Option 2", None), (TEN, "Not option 1", None), (TEN, "Option 3 at $2", 2),
    (("Accept", "Reject"), "Reject", 1), (("Accept", "Reject"), "I reject.", 1),
    (("Accept", "Reject"), "I accept rather than reject", None), (("Accept", "Refuse"), "I refuse",
    1),
    (("Yes", "No"), "No", 1), (("Yes", "No"), "No, thanks", 1), (("Yes", "No"), "Yes. No.", None),
    (("Stay", "Stay silent"), "I choose to stay silent", 1), (("Stay", "Stay silent"), "Stay", 0),
    (("Option A", "Option B"), "b", 1), (("Option A", "Option B"), "Option A", 0),
    (("Option A", "Option B"), "Option A or B", None), (("Option A", "Option B"), "A cost me, so B",
    None),
    (tuple("ABCD"), "I choose B", 1), (tuple("ABCD"), "I over B", None),
]  # fmt: skip


@pytest.mark.parametrize(("reply", "letter"), NAMES.items())
def test_a_reply_that_names_one_option_is_read_as_that_option(reply, letter):
    assert read_option(reply, NINE) == (NINE.index(letter), "ok")


@pytest.mark.parametrize("reply", NULLS)
def test_a_reply_that_names_no_one_option_is_unparsed(reply):
    assert read_option(reply, NINE) == (None, "unparsed")


@pytest.mark.parametrize("reply", REFUSALS)
def test_a_refusal_is_no_choice_even_if_it_names_an_option(reply):
    assert read_option(reply, NINE) == (None, "refused")


@pytest.mark.parametrize(("labels", "reply", "option"), WORDED)
def test_words_and_numbered_options_are_read_as_letters_are(labels, reply, option):
    assert read_option(reply, labels) == (option, "unparsed" if option is None else "ok")


def test_labels_that_could_be_confused_are_an_error():
    for labels in (("A", "a"), ("А", "B"), ("A", "")):
        with pytest.raises(ValueError, match="distinct"):
            read_option("B", labels)


def test_position_follows_the_order_of_the_labels():
    assert read_option("Answer: C", list("CAB")).option == 0
    assert read_option("Answer: C", list("ABC")).option == 2


PIECES = [
    "a ", "I ", "i ", "A ", "B ", "x", " ", "\n", "*", "_", "_ ", '"', "'", "' ", ">", "\n>", ".",
    ". ",
    "!", ":", ": ", "- ", "(", "[ ", "\\boxed{", "I can't ", "I would ", "I really ", "not ",
    "they will ",
    "answer: ", "option ", "s' ", "B, ", "B. ", "e.g. ", "\u200b", "\ud800", "А", "~~", "`", "no, ",
    "1 ",
    "I do ", "as a ", "I will not ", "you also ", "is\n", "A fair ", "unable to ", "vs.", "<s>",
    "\t",
]  # fmt: skip


def read_repeated(piece, size, limit, tails=("", "Answer: C", "é\n\nAnswer: C")):
    for tail in tails:
        start = time.perf_counter()
        read_option(piece * (size // len(piece)) + tail, NINE)
        assert time.perf_counter() - start < limit


@pytest.mark.parametrize("piece", ["a ", " ", "I can't ", "_", "x"])
def test_two_megabytes_take_linear_time(piece):
    read_repeated(piece, 2_000_000, 60, ["Answer: C"])  # quadratic: hours


@pytest.mark.slow
@pytest.mark.parametrize("piece", PIECES)
def test_two_megabytes_of_any_piece_take_linear_time(piece):
    read_repeated(piece, 2_000_000, 60)  # quadratic: hours


def test_fifty_kilobytes_of_any_piece_take_linear_time():
    for piece in PIECES:
        read_repeated(piece, 50_000, 4, ["é\n\nAnswer: C"])  # quadratic: above ten seconds


# Fuzzing. The oracle below shares no pattern with the reader.


def standalone_tokens(text):
    kept = []
    for char in text:
        if 0xFF01 <= ord(char) <= 0xFF5E:
            char = chr(ord(char) - 0xFEE0)
        if char.isspace() or unicodedata.category(char) not in ("Cc", "Cf", "Cs"):
            kept.append("'" if char in "‘’ʼ" else char)
    words = re.findall(r"\w+(?:'\w+)*", "".join(kept))
    return {re.sub(r"'s\b.*", "", word).strip("_") for word in words}


STEMS = "fair|we|think|split|matters|more|because|the|other|person|gets|points|total|both|so|want"
WORDS = st.sampled_from(STEMS.split("|"))
PROSE = st.sampled_from([
    "I think fairness matters.", "I would like both of us to gain.", "A fair split matters to me.",
    "I want a high total.", "I'd say so.", "I do not want to hurt anyone.", "It is a good day.",
    "85/15 is far apart.", "As it is, I care about both.", "I have decided:", "I’m sure.", "\n",
    ", ",
    "There are nine options.", "Each gives 85 points.", "“Fair” is what I aim at.", "> quoted",
])  # fmt: skip
LATIN = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
OTHER = st.characters(exclude_characters=LATIN | {chr(ord(c) + 0xFEE0) for c in LATIN})
NAMELESS = st.lists(WORDS | PROSE | st.text(OTHER, max_size=8), max_size=10).map(" ".join)

CAPITAL = [
    "{}", "Answer: {}", "({})", "**{}**", "_{}_", "I choose {}", "I'd go with {}.", "[{}]",
    "Option {}",
    "{} is better", "'{}'", '"{}"', "`{}`", "not {}", "{}?", "If {}", "\\boxed{{{}}}", "{}: 85/85",
    "{}) 85/15", "- {}", "> {}", "{}'s total", "I prefer {} because it is fair", "{} cost me",
    "{},", "I'm unable to choose {}", "I won't pick {}",
]  # fmt: skip
SMALL = ["answer: {}", "option {}", "({})", "(option {})", "I choose option {}"]
JOINS = ["\n", ". ", ", ", " or ", " and ", "/", " ", "\n\n", " > ", " over ", "; ", " – ", " not "]

CLEAN = [
    "{}", "({})", "{}.", "**{}**", "Answer: {}", "Answer: **{}**", "**Answer:** {}", "answer: {}",
    "The answer is {}.", "My choice: ({})", "I choose {}.", "I would choose **Option {}**.",
    "I'd go with {}.", "I’ll pick option {}.", "Option {}", "\\boxed{{{}}}", "Final answer: {}",
    "Answer: {}\n\nBecause both of us gain.", "The best option for me is {}.", "I prefer {}.",
    "I'd go with {} because it gives the other person more.", "Answer:\n{}", "Option {} is fair.",
]  # fmt: skip
LEADS = [
    "", "I want both of us to gain. ", "I do not want to hurt anyone.\n\n", "Let me think.\n",
    "Each gives 85 points. ", "I care about the total, as a rule.\n", "Fairness matters. ",
]  # fmt: skip


@st.composite
def two_named(draw):
    labels = draw(st.sampled_from([NINE, GAME, TEN]))
    first, second = draw(st.permutations(range(len(labels))))[:2]
    parts = []
    for k in (first, second):
        form = draw(st.sampled_from(CAPITAL + SMALL))
        label = labels[k].lower() if form in SMALL else labels[k]
        parts.append(form.format(label))
    around = st.sampled_from(["", "I think ", "So ", "Fairness matters. ", "\n"])
    named = draw(st.sampled_from(JOINS)).join(parts)
    return f"{draw(around)} {named} {draw(around)}", labels


@st.composite
def one_named(draw):
    labels = draw(st.sampled_from([NINE, GAME, TEN]))
    k = draw(st.integers(0, len(labels) - 1))
    label = labels[k]
    form = draw(st.sampled_from(CLEAN))
    if labels is TEN and "ption {}" in form:
        label = label.removeprefix("Option ")
    return draw(st.sampled_from(LEADS)) + form.format(label), labels, k


FRAGMENTS = (
    CAPITAL + SMALL + CLEAN + JOINS + LEADS + ["a", "I", "A", "i", "{} ", "I think", "no", "*", "'"]
)


@st.composite
def anything(draw):
    piece = st.sampled_from(FRAGMENTS) | WORDS | PROSE | st.text(max_size=5)
    letters = st.sampled_from("ABCDEFGHIJKabcdi")
    parts = [p.replace("{}", draw(letters)) for p in draw(st.lists(piece, max_size=6))]
    return draw(st.sampled_from(["", " "])).join(parts)


def check_any_text(text):
    for labels in (GAME, TEN, NINE):
        option, status = read_option(text, labels)
        assert (status == "ok") == (option is not None)
        assert status in ("ok", "unparsed", "refused")
    if option is not None:
        tokens = standalone_tokens(text)
        assert tokens & {NINE[option], NINE[option].lower()}, text
        assert not (tokens & set("BCDEFGH")) - {NINE[option]}, text


def check_nameless(text):
    for labels in (NINE, GAME):
        assert read_option(text, labels).option is None, text


def check_two_named(case):
    assert read_option(*case).option is None, case


def check_one_named(case):
    text, labels, k = case
    assert read_option(text, labels) == (k, "ok"), case


CHECKS = [
    (check_any_text, st.text() | anything()),
    (check_nameless, NAMELESS),
    (check_two_named, two_named()),
    (check_one_named, one_named()),
]


def fuzz(check, strategy, examples, same):
    quiet = settings(
        max_examples=examples,
        derandomize=same,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    quiet(given(strategy)(check))()


@pytest.mark.parametrize(("check", "strategy"), CHECKS, ids=lambda c: getattr(c, "__name__", ""))
def test_fuzzed_replies_never_yield_an_invented_option(check, strategy):
    fuzz(check, strategy, 5_000, same=True)


@pytest.mark.slow
@pytest.mark.parametrize(("check", "strategy"), CHECKS, ids=lambda c: getattr(c, "__name__", ""))
def test_many_fuzzed_replies_never_yield_an_invented_option(check, strategy):
    fuzz(check, strategy, 100_000, same=False)  # others every time
