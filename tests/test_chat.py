"""Chat templates and tokenizers: prompts are the template's, and append-only where it allows."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_model import make
from tokenizers import Tokenizer

from agents.base import Message
from sim.errors import Refusal
from sim.inference import models
from sim.inference.chat import Chat
from sim.inference.thinking import check_mode

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TRIMS = CHATML.replace("m['content']", "m['content'] | trim")
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    + CHATML
)
FIRST_ONLY = (  # a default system text, as some models have it
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
    + CHATML
)
FORGETS = (  # drops the thoughts of earlier turns
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think></think>{% endif %}"
)
SYSTEM_LAST = (  # the system message stands in the last question, as in some of Mistral's
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}"
    "{% set messages = messages[1:] %}{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if loop.last and system is defined %}{{ system }}\n\n{% endif %}"
    "{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
STRIPS = CHATML.replace("m['content']", "m['content'].split('</think>')[-1]")
CHANNEL = CHATML.replace(  # the model writes a header of its own before what it says
    "{{ m['content'] }}", "{% if m['role'] == 'assistant' %}<final>{% endif %}{{ m['content'] }}"
)
COUNTS = "{{ messages | length }}" + CHATML  # the beginning changes from turn to turn


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make(tmp_path_factory.mktemp("chat") / "model")


def chat(folder, template: str, **variables) -> Chat:
    known = Chat.load("tiny", folder, None, {})
    return Chat("tiny", known.tokenizer, template, variables, known.stop_ids)


def talk(*contents: str, system: str | None = None) -> Message:
    message = None if system is None else Message("system", system, None)
    for k, content in enumerate(contents):
        message = Message(("user", "assistant")[k % 2], content, message)
    assert message is not None
    return message


def rendered(chat: Chat, message: Message) -> str:
    return chat.render([{"role": m.role, "content": m.content} for m in message.history()])


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="<|>"), max_size=30)


@settings(deadline=None)
@given(st.lists(TEXTS, min_size=3, max_size=7).filter(lambda x: len(x) % 2), st.none() | TEXTS)
@pytest.mark.parametrize(
    "template", [CHATML, TRIMS, FIRST_ONLY, FORGETS, SYSTEM_LAST, STRIPS, COUNTS]
)
def test_a_prompt_reads_as_the_template_says(folder, template, contents, system):
    c = chat(folder, template)
    ids = c.prompt(talk(*contents, system=system))
    text = c.tokenizer.decode(ids.tolist(), skip_special_tokens=False)
    assert text == rendered(c, talk(*contents, system=system))


@pytest.mark.parametrize(
    ("template", "append_only"),
    [
        (CHATML, True),
        (FIRST_ONLY, True),
        (NO_SYSTEM, True),
        (TRIMS, False),
        (FORGETS, False),
        (SYSTEM_LAST, True),
        (STRIPS, True),
        (CHANNEL, False),
        (COUNTS, False),
    ],
)
def test_a_later_prompt_begins_with_the_earlier_one_where_the_template_allows(
    folder, template, append_only
):
    c = chat(folder, template)
    assert c.append_only is append_only
    first = talk("Here are 9 ways.")
    later = Message("user", "And now?", Message("assistant", "Answer: B", first))
    asked, again = c.prompt(first), c.prompt(later)
    if append_only:
        said = c.encode("Answer: B")
        assert np.array_equal(again[: len(asked) + len(said)], np.concatenate([asked, said]))


def test_a_role_that_the_template_does_not_know_is_refused_when_it_comes(folder):
    c = chat(folder, NO_SYSTEM)
    with pytest.raises(Refusal, match=r"cannot render system user: no system role"):
        c.prompt(talk("Hello", system="You are kind."))


def test_earlier_thoughts_are_dropped_where_the_template_drops_them(folder):
    c = chat(folder, STRIPS)
    later = talk("Which one?", "<think>hm</think>A", "And now?", "B", "And then?")
    assert c.tokenizer.decode(c.prompt(later).tolist(), skip_special_tokens=False) == rendered(
        c, later
    )


def test_a_long_conversation_that_comes_back_from_a_journal_has_its_prompt(folder):
    c, told = chat(folder, CHATML), ["Which one?", *["A", "And now?"] * 1500]
    whole = c.encode(rendered(c, talk(*told)))
    assert c.tokenizer.decode(c.prompt(talk(*told)).tolist()) == c.tokenizer.decode(whole.tolist())


def test_what_popular_templates_ask_for_is_there(folder):
    asks = (
        "{% if tools is not none %}{{ tools | length }}{% endif %}{{ strftime_now('%d %b %Y') }}"
        "{{ ['ä'] | tojson(ensure_ascii=False) }}{% generation %}x{% endgeneration %}" + CHATML
    )
    assert rendered(chat(folder, asks), talk("a")).startswith('01 Jan 2026["ä"]x<|im_start|>user')
    assert rendered(chat(folder, asks, today="2031-05-09"), talk("a")).startswith("09 May 2031")
    with pytest.raises(Refusal, match="today must be a date: Invalid isoformat string: 'soon'"):
        chat(folder, asks, today="soon")
    with pytest.raises(Refusal, match="chat template of tiny cannot be used: TypeError"):
        chat(folder, "{{ 1 + 'a' }}")


def test_a_forced_reply_is_refused_where_the_model_must_write_something_before_it(folder):
    check_mode("text", None, chat(folder, CHANNEL))
    check_mode("label", None, chat(folder, CHATML))
    for mode in ("label", "choice"):
        with pytest.raises(Refusal, match=r"begins at once .* of tiny '<final>' comes first"):
            check_mode(mode, None, chat(folder, CHANNEL))


def test_a_tokenizers_saved_cutting_and_filling_up_do_not_touch_prompts(folder, tmp_path):
    plain = Chat.load("tiny", folder, None, {})
    spoilt = Tokenizer.from_file(str(folder / "tokenizer.json"))
    spoilt.enable_truncation(8)
    spoilt.enable_padding(length=16)
    shutil.copytree(folder, tmp_path / "spoilt")
    spoilt.save(str(tmp_path / "spoilt" / "tokenizer.json"))
    told = Chat.load("tiny", tmp_path / "spoilt", None, {})
    asked = "Which one do you choose? " * 9
    assert told.prompt(talk(asked)).tolist() == plain.prompt(talk(asked)).tolist()
    assert told.labels(("A", "B"))[1] == plain.labels(("A", "B"))[1]


def test_a_tokenizer_that_begins_every_text_with_a_blank_adds_none_in_the_middle(folder, tmp_path):
    known = json.loads((folder / "tokenizer.json").read_text())
    known["normalizer"] = {"type": "Prepend", "prepend": " "}  # as SentencePiece's do
    (tmp_path / "t.json").write_text(json.dumps(known))
    tokenizer = Tokenizer.from_file(str(tmp_path / "t.json"))
    c = Chat("tiny", tokenizer, CHATML, {}, (2,))
    assert not c.append_only
    told = talk("Which one?", "A", "And now?")
    assert c.prompt(told).tolist() == tokenizer.encode(rendered(c, told)).ids
    prefix, _ = c.labels(("A", "B"))
    assert tokenizer.decode(prefix.tolist()) == "Answer:"


def test_a_template_cannot_reach_out_of_its_sandbox(folder):
    with pytest.raises(Refusal, match="chat template of tiny cannot be used"):
        chat(folder, "{{ messages.__class__.__mro__[1].__subclasses__() }}")


def test_labels_are_one_token_each_behind_the_prefix(folder):
    c = chat(folder, CHATML)
    prefix, ids = c.labels(("A", "B"))
    assert c.tokenizer.decode([*prefix.tolist(), ids[1]]) == "Answer: B"
    with pytest.raises(Refusal, match="one token each behind 'Answer:', 'Zebra' is"):
        c.labels(("A", "Zebra"))


def test_a_model_without_tokenizer_template_or_end_is_refused_in_a_sentence(tmp_path):
    bare = make(tmp_path / "a", tokenizer=False)
    with pytest.raises(Refusal, match=r"needs a tokenizer \(tokenizer.json\), a has none"):
        Chat.load("a", bare, None, {})
    dumb = make(tmp_path / "b", template=False)
    with pytest.raises(Refusal, match="needs a chat template, b has none; give one with"):
        Chat.load("b", dumb, None, {})
    (tmp_path / "t.jinja").write_text(CHATML)
    assert Chat.load("b", dumb, str(tmp_path / "t.jinja"), {}).append_only
    with pytest.raises(Refusal, match="chat_template nowhere cannot be read"):
        Chat.load("b", dumb, "nowhere", {})
    whole = make(tmp_path / "c")
    for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
        if (whole / name).is_file():
            told = json.loads((whole / name).read_text())
            told = {k: v for k, v in told.items() if not k.startswith("eos_token")}
            (whole / name).write_text(json.dumps(told))
    with pytest.raises(Refusal, match=r"a token that ends its replies \(eos_token\), c has none"):
        Chat.load("c", whole, None, {})
    (whole / "tokenizer_config.json").write_text("{")
    with pytest.raises(Refusal, match=r"tokenizer_config\.json cannot be read"):
        Chat.load("c", whole, None, {})


def test_another_tokenizer_or_end_tells_models_apart(folder, tmp_path):
    known = Chat.load("x", folder, None, {}).hash
    other = shutil.copytree(folder, tmp_path / "other")
    (other / "generation_config.json").write_text('{"eos_token_id": [1, 2]}')
    assert Chat.load("x", other, None, {}).hash != known
    (other / "generation_config.json").unlink()
    assert Chat.load("x", other, None, {}).hash == known
    tokens = json.loads((other / "tokenizer.json").read_text())
    tokens["model"]["merges"].pop()
    (other / "tokenizer.json").write_text(json.dumps(tokens))
    assert Chat.load("x", other, None, {}).hash != known


def test_switches_reach_the_template_and_tell_models_apart(folder):
    plain, thinking = chat(folder, CHATML), chat(folder, CHATML, enable_thinking=True)
    assert plain.hash != thinking.hash
    switched = chat(folder, "{% if x %}yes{% endif %}" + CHATML, x=True)
    assert rendered(switched, talk("a")).startswith("yes")


def test_a_model_that_is_not_there_is_refused_before_anything_is_fetched(tmp_path):
    with pytest.raises(Refusal, match=r"got '\./nowhere': not there"):
        models.find("./nowhere", None)
    with pytest.raises(Refusal, match="revision is for models of the hub"):
        models.find(str(tmp_path), "main")
    assert models.find("pocket", None) == (models.POCKET, None)


def test_other_weights_have_another_fingerprint(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(bytes(models.WHOLE + 10))
    first = models.fingerprint(tmp_path, "*.safetensors")
    changed = bytearray(models.WHOLE + 10)
    changed[1000] = 1
    (tmp_path / "a.safetensors").write_bytes(changed)
    again = models.fingerprint(tmp_path, "*.safetensors")
    assert first[0]["bytes"] == again[0]["bytes"] and first != again
