"""What a stand-in makes of a request: who asks what, and a reply by the hash of it."""

import json
import math
import re
from functools import lru_cache
from hashlib import blake2b

OPTION = re.compile(r"^(\w+): ")
UNREAD = "I would rather not say."
HEADS = ("Such a person weighs", "I will weigh", "Somebody like that weighs", "They weigh")
ENDS = ("both outcomes.", "their own outcome first.", "the other's outcome first.", "the sum.")
TOKENS = ("prompt", "cached", "completion", "reasoning")
PIECES = re.compile(r"\s*\S+")
BEGIN = 1  # id of the token that begins a text


@lru_cache(maxsize=65536)
def token_id(piece: str) -> int:
    """Of a word with the blanks before it."""
    return 2 + int.from_bytes(blake2b(piece.encode("utf-8", "replace"), digest_size=4).digest())


def token_ids(text: str) -> list[int]:
    return [token_id(piece) for piece in PIECES.findall(text)]


@lru_cache(maxsize=65536)
def n_words(text: str) -> int:
    return len(text.split())


@lru_cache(maxsize=65536)
def options(text: str) -> tuple[str, ...]:
    """Names of the options that a text lists, the last list of two or more lines."""
    found, block = (), []
    for line in [*text.split("\n"), ""]:
        if match := OPTION.match(line):
            block.append(match[1])
        else:
            found, block = (tuple(block) if len(block) > 1 else found), []
    return found


@lru_cache(maxsize=4096)
def pattern_labels(pattern: str) -> tuple[str, tuple[str, ...]]:
    """Mode and options of a pattern that `sim.inference.modes` makes."""
    mode, mark = ("json", '"answer": "(') if pattern.startswith(r"\{") else ("regex", "Answer: (")
    names = re.split(r"(?<!\\)\|", pattern[pattern.rindex(mark) + len(mark) : pattern.rindex(")")])
    labels = tuple(re.sub(r"\\(.)", r"\1", name) for name in names)
    for label in labels:
        if not re.fullmatch(pattern, say(mode, label)):
            raise ValueError(f"cannot write what matches {pattern}")
    return mode, labels


def say(mode: str, label: str) -> str:
    if mode == "json":
        return json.dumps({"reason": "Because.", "answer": label})
    return {"choice": label, "label": label, "regex": f"Because.\nAnswer: {label}"}.get(
        mode, f"Answer: {label}"
    )


def form(told: dict) -> tuple[str, tuple[str, ...] | None]:
    """Response mode, and the options where the request's form lists them."""
    bound, shape = told.get("structured_outputs"), told.get("response_format")
    if bound:
        if "choice" in bound:
            return "choice", tuple(bound["choice"])
        if "regex" in bound:
            return pattern_labels(bound["regex"])
        return "json", tuple(bound["json"]["properties"]["answer"]["enum"])
    if shape and shape["type"] != "text":
        schema = shape["json_schema"]["schema"]
        return "json", tuple(schema["properties"]["answer"]["enum"])
    if told.get("continue_final_message"):
        if told.get("add_generation_prompt", True):
            raise ValueError("continue_final_message needs add_generation_prompt: false")
        return "label", None
    return "text", None


class Ask:
    """A request as read: `base` is the hash of all but its seed, `drawn` what the reply hangs on.

    Raises:
        ValueError, KeyError, TypeError, AttributeError, IndexError: it is none.
    """

    __slots__ = ("base", "drawn", "identity", "labels", "mode", "texts", "told")

    def __init__(self, body: bytes, key: bytes):
        self.told = told = json.loads(body)
        self.mode, labels = form(told)
        if told.get("logprob_token_ids") is not None and not (
            told.get("logprobs") and told.get("return_tokens_as_token_ids")
        ):
            raise ValueError("logprob_token_ids needs logprobs and return_tokens_as_token_ids")
        if (told.get("top_logprobs") or 0) > 20:
            raise ValueError("top_logprobs must be at most 20")
        self.texts = [(message["role"], _text(message["content"])) for message in told["messages"]]
        if labels is None:
            labels = self._offered()
        if self.mode == "label" and not labels:
            raise ValueError("no options to score")
        self.labels = labels
        whole = "\x1e".join([*(f"{r}\x1f{t}" for r, t in self.texts), self.mode, *labels])
        seed = told.get("seed")
        self.base = self.identity = blake2b(
            whole.encode("utf-8", "surrogatepass"), digest_size=32, key=key
        ).digest()
        if seed is not None:
            self.identity = blake2b(b"%s%a" % (self.base, seed), digest_size=32).digest()
        self.drawn = self.base if told.get("temperature") == 0 else self.identity

    def _offered(self) -> tuple[str, ...]:
        """Options of the last question; of one before where it only asks again."""
        for role, text in reversed(self.texts):
            if role == "user":
                if "one single sentence" in text:
                    break
                if found := options(text):
                    return found
        return ()


def _text(content: str | list[dict]) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def share(digest: bytes, part: int) -> float:
    """One of four numbers in 0..1 that a hash gives."""
    return int.from_bytes(digest[8 * part : 8 * part + 8], "big") / 2**64


# -- what is said ------------------------------------------------------------------------------


def weights(ask: Ask, k: int) -> list[tuple[str, float]]:
    """Next tokens of a label's place with their probabilities, at least `k`, likeliest first."""
    drawn = [0.3 + share(blake2b(ask.base + x.encode()).digest(), 0) for x in ask.labels]
    blank = "" if ask.texts[-1][1][-1:].isspace() else " "
    found = [(blank + x, 0.99 * w / sum(drawn)) for x, w in zip(ask.labels, drawn, strict=True)]
    found += [(f"{blank}word{i}", 0.005 / 2**i) for i in range(max(0, k - len(found)))]
    return sorted(found, key=lambda pair: -pair[1])


def token(text: str, chance: float) -> dict:
    return {"token": text, "logprob": math.log(chance), "bytes": list(text.encode())}


def numbered(number: int, chance: float) -> dict:
    text = f"token_id:{number}"
    return {"token": text, "logprob": math.log(chance), "bytes": list(text.encode())}


def reply(
    ask: Ask, model: str, unread: float, reasoning: int, said_too: str
) -> tuple[dict, tuple[int, ...]]:
    """The proper reply without its id, and its tokens as in `TOKENS`.

    Args:
        ask: the request.
        model: named in the reply.
        unread: share of decisions in text that name no option.
        reasoning: words before the reply.
        said_too: stands in the text and the reasoning as well, where the mode lets it.
    """
    told, mode, logprobs = ask.told, ask.mode, None
    if mode == "label":
        k = told.get("top_logprobs") or 0
        likely = weights(ask, k)
        named, left = likely[0], share(ask.drawn, 0)
        if told.get("temperature") != 0:
            for named in likely:
                left -= named[1]
                if left < 0:
                    break
        content = named[0]
        asked = told.get("logprob_token_ids")
        if asked is not None:  # vLLM's: these alone, whatever their rank, by number
            chances = {token_id(text): chance for text, chance in likely}
            top = [numbered(i, chances.get(i, 1e-9)) for i in asked]
            first = numbered(token_id(named[0]), named[1])
            logprobs = {"content": [{**first, "top_logprobs": top}]}
        elif told.get("logprobs"):
            top = [token(*pair) for pair in likely[:k]]
            logprobs = {"content": [{**token(*named), "top_logprobs": top}]}
    elif not ask.labels:
        content = f"{HEADS[ask.drawn[0] % 4]} {ENDS[ask.drawn[1] % 4]}"
    elif mode == "text" and share(ask.drawn, 1) < unread:
        content = UNREAD
    else:
        content = say(mode, ask.labels[int(share(ask.drawn, 0) * len(ask.labels))])
    thoughts, n_thoughts = "thought " * reasoning, reasoning
    if said_too:
        thoughts += said_too
        if mode == "text":
            content = f"{said_too}\n{content}"
        elif mode == "json":
            content = json.dumps({**json.loads(content), "reason": said_too})
    n, finish = n_words(content), "stop"
    most = told.get("max_completion_tokens") or told.get("max_tokens")
    if most and n > most:
        content, n, finish = "".join(PIECES.findall(content)[:most]), most, "length"
    if told.get("logprobs") and logprobs is None:
        said = [token(piece, 0.99) for piece in PIECES.findall(content)]
        logprobs = {"content": [{**one, "top_logprobs": [one]} for one in said]}
    message = {"role": "assistant", "content": content, "refusal": None}
    if thoughts:
        message["reasoning_content"] = thoughts
    counted = [n_words(text) for _, text in ask.texts]
    prompt, cached, out = sum(counted), sum(counted[:-1]), n + n_thoughts
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": out,
        "total_tokens": prompt + out,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": n_thoughts},
    }
    choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": logprobs}
    about = {"object": "chat.completion", "created": 1_700_000_000, "model": model}
    return {**about, "choices": [choice], "usage": usage}, (prompt, cached, out, n_thoughts)
