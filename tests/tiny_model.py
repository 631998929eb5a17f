"""Models of random weights in the Hugging Face layout: real engines, no download, no meaning.

Made with `tokenizers` and `safetensors` alone, so that every backend's tests can have one. The
replies are noise; that the machinery around them is right can be seen all the same.
"""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIALS = ("<pad>", "<|im_start|>", "<|im_end|>")
MARKS = ("<think>", "</think>")  # no special tokens: they stay in a reply's text
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking %}<think>\n{% endif %}{% endif %}"
)
TEXT = (
    "Here are 9 ways to share points between you and another person, whom you do not know. "
    "Which one do you choose? Two options, three, four, five, six, seven, eight.",
    "Answer as somebody with the altruistic, prosocial, individualistic, competitive social "
    "value orientation. From now on, take the role of such a person completely: whatever I ask "
    "you, answer as that person. Describe in a few sentences what a person with it is like.",
    "End your reply with one line and the letter of the option you choose. Name no other option "
    "by its letter. State your goal in one single sentence. Your goal was: I want to give more.",
    "Understood. I will answer as such a person. I cannot read that; reply again, please. {}[]",
    *(
        f"Answer: {name}\n{name}: 85 points for you, 76 points for the other"
        for name in "ABCDEFGHI"
    ),
    *(str(number) for number in range(100)),
)


def make(
    folder: Path,
    *,
    seed: int = 0,
    width: int = 64,
    layers: int = 2,
    heads: int = 2,
    vocabulary: int = 640,
    context: int = 4096,
    spread: float = 0.2,
    template: bool = True,
    tokenizer: bool = True,
) -> Path:
    """Writes a Llama model with random weights and returns its folder.

    Args:
        folder: made if it is not there.
        seed: of the weights.
        width: hidden size; `width / heads` is the head's, 32 or 64 for every engine.
        layers: of the transformer; width 512 with 9 layers and 4096 tokens is about 30 M.
        heads: of attention; half as many keys and values, at least one.
        vocabulary: tokens; 256 bytes, the specials, what the text gives, and unused ones.
        context: most tokens of a conversation.
        spread: standard deviation of the weights: larger, and the next token is surer.
        template: whether it has a chat template.
        tokenizer: whether it has a tokenizer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokens = _tokenizer(vocabulary)
    if tokenizer:
        tokens.save(str(folder / "tokenizer.json"))
        about = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "pad_token": SPECIALS[0],
            "eos_token": SPECIALS[2],
            "model_max_length": context,
            "clean_up_tokenization_spaces": False,
        }
        _write(folder / "tokenizer_config.json", about)
    if template:
        (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    pairs = max(1, heads // 2)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": width,
        "intermediate_size": 3 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": pairs,
        "head_dim": width // heads,
        "vocab_size": vocabulary,
        "max_position_embeddings": context,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "pad_token_id": 0,
        "bos_token_id": None,
        "eos_token_id": 2,
        "dtype": "float32",
    }
    _write(folder / "config.json", config)
    _write(folder / "generation_config.json", {"eos_token_id": 2, "pad_token_id": 0})
    weights = _weights(seed, width, layers, pairs * (width // heads), vocabulary, spread)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def adapter(
    folder: Path, *, seed: int = 1, width: int = 64, layers: int = 2, rank: int = 4
) -> Path:
    """Writes a LoRA adapter of random weights for the query projections; returns its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": 4 * rank}
    about |= {"target_modules": ["q_proj"], "bias": "none", "use_rslora": False}
    _write(folder / "adapter_config.json", about)
    draw, weights = np.random.default_rng(seed), {}
    for layer in range(layers):
        name = f"base_model.model.model.layers.{layer}.self_attn.q_proj.lora"
        weights[f"{name}_A.weight"] = draw.normal(0, 1, (rank, width)).astype(np.float32)
        weights[f"{name}_B.weight"] = draw.normal(0, 1, (width, rank)).astype(np.float32)
    save_file(weights, folder / "adapter_model.safetensors", {"format": "pt"})
    return folder


def _tokenizer(vocabulary: int) -> Tokenizer:
    tokens = Tokenizer(models.BPE())
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore
    tokens.decoder = decoders.ByteLevel()  # type: ignore
    tokens.train_from_iterator(
        TEXT * 10,
        trainers.BpeTrainer(
            vocab_size=vocabulary - len(MARKS),
            special_tokens=list(SPECIALS),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokens.add_tokens([AddedToken(mark, normalized=False) for mark in MARKS])
    unused = range(tokens.get_vocab_size(), vocabulary)
    tokens.add_tokens([AddedToken(f"<unused{i}>", normalized=False) for i in unused])
    return tokens


def _weights(
    seed: int, width: int, layers: int, key: int, vocabulary: int, spread: float
) -> dict[str, np.ndarray]:
    """Tensors by name; `key` is the width of keys and values."""
    draw = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return (spread * draw.standard_normal(shape, np.float32)).astype(np.float32)

    def one_layer(at: str) -> dict[str, np.ndarray]:
        attention, mlp = f"{at}.self_attn", f"{at}.mlp"
        return {
            f"{attention}.q_proj.weight": normal(width, width),
            f"{attention}.k_proj.weight": normal(key, width),
            f"{attention}.v_proj.weight": normal(key, width),
            f"{attention}.o_proj.weight": normal(width, width),
            f"{mlp}.gate_proj.weight": normal(3 * width, width),
            f"{mlp}.up_proj.weight": normal(3 * width, width),
            f"{mlp}.down_proj.weight": normal(width, 3 * width),
            f"{at}.input_layernorm.weight": np.ones(width, np.float32),
            f"{at}.post_attention_layernorm.weight": np.ones(width, np.float32),
        }

    weights = {"model.embed_tokens.weight": normal(vocabulary, width)}
    for layer in range(layers):
        weights |= one_layer(f"model.layers.{layer}")
    weights["model.norm.weight"] = np.ones(width, np.float32)
    weights["lm_head.weight"] = normal(vocabulary, width)
    return weights


def _write(path: Path, about: dict) -> None:
    path.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
