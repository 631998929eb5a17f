"""The pocket model's network for training: a Llama, with two more heads that only training uses."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

CHUNK = 128  # queries


@dataclass(frozen=True)
class Shape:
    """Sizes, by the names of a Hugging Face Llama configuration."""

    vocab_size: int
    hidden_size: int = 160
    intermediate_size: int = 448
    num_hidden_layers: int = 4
    num_attention_heads: int = 5
    num_key_value_heads: int = 5
    max_position_embeddings: int = 4096
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-5

    def config(self, ids: dict[str, int]) -> dict[str, Any]:
        """`config.json` of the model; `ids` are those of its special tokens."""
        return (
            asdict(self)
            | ids
            | {
                "architectures": ["LlamaForCausalLM"],
                "model_type": "llama",
                "hidden_act": "silu",
                "attention_bias": False,
                "mlp_bias": False,
                "attention_dropout": 0.0,
                "head_dim": self.hidden_size // self.num_attention_heads,
                "tie_word_embeddings": True,
                "initializer_range": 0.02,
                "use_cache": True,
                "torch_dtype": "float32",
            }
        )


class RMSNorm(nn.Module):
    """Root-mean-square layer norm."""

    def __init__(self, size: int, eps: float):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, (x.shape[-1],), self.weight, self.eps)


def walls(whose: Tensor) -> list[Tensor]:
    """What hides from each chunk of queries what is later or of another conversation.

    Added to the scores: (B, 1, chunk, places up to its end), 0 or very small; `whose` (B, T)
    tells conversations apart.
    """
    found = []
    for start in range(0, whose.shape[1], CHUNK):
        stop = min(start + CHUNK, whose.shape[1])
        at = torch.arange(start, stop, device=whose.device)[:, None]
        hidden = torch.arange(stop, device=whose.device)[None] > at
        hidden = hidden | (whose[:, start:stop, None] != whose[:, None, :stop])
        found.append((hidden * -1e9)[:, None].to(torch.bfloat16))
    return found


def attend(q: Tensor, k: Tensor, v: Tensor, hidden: list[Tensor]) -> Tensor:
    """Attention of (B, H, T, D).

    In chunks of queries, which keeps the scores in the caches: on a CPU three times as fast as
    torch's own, forth and back.
    """
    scale, parts = q.shape[-1] ** -0.5, []
    for number, wall in enumerate(hidden):
        start, stop = number * CHUNK, wall.shape[-1]
        scores = (q[:, :, start:stop] @ k[:, :, :stop].transpose(-1, -2)).float() * scale
        weights = (scores + wall).softmax(-1).to(v.dtype)
        parts.append(weights @ v[:, :, :stop])
    return torch.cat(parts, 2)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding of (B, H, T, D)."""
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-b, a), dim=-1) * sin


class Attention(nn.Module):
    """Causal self-attention with rotary positions."""

    def __init__(self, shape: Shape):
        super().__init__()
        d = shape.hidden_size
        self.heads, self.kv = shape.num_attention_heads, shape.num_key_value_heads
        self.size = d // self.heads
        self.q_proj = nn.Linear(d, d, bias=False)
        self.k_proj = nn.Linear(d, self.kv * self.size, bias=False)
        self.v_proj = nn.Linear(d, self.kv * self.size, bias=False)
        self.o_proj = nn.Linear(d, d, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, hidden: list[Tensor]) -> Tensor:
        b, t, _ = x.shape
        q = self.q_proj(x).view(b, t, self.heads, self.size).transpose(1, 2)
        k = self.k_proj(x).view(b, t, self.kv, self.size).transpose(1, 2)
        v = self.v_proj(x).view(b, t, self.kv, self.size).transpose(1, 2)
        q, k = rotate(q, cos, sin).to(v.dtype), rotate(k, cos, sin).to(v.dtype)
        if self.kv != self.heads:
            k, v = (x.repeat_interleave(self.heads // self.kv, 1) for x in (k, v))
        out = attend(q, k, v, hidden)
        return self.o_proj(out.transpose(1, 2).reshape(b, t, -1))


class MLP(nn.Module):
    """Gated feed-forward layer."""

    def __init__(self, shape: Shape):
        super().__init__()
        d, wide = shape.hidden_size, shape.intermediate_size
        self.gate_proj = nn.Linear(d, wide, bias=False)
        self.up_proj = nn.Linear(d, wide, bias=False)
        self.down_proj = nn.Linear(wide, d, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """One transformer layer."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.self_attn, self.mlp = Attention(shape), MLP(shape)
        self.input_layernorm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, hidden: list[Tensor]) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, hidden)
        return x + self.mlp(self.post_attention_layernorm(x))


class Pocket(nn.Module):
    """The language model; parameter names are those of a Hugging Face Llama below `model`.

    `reads` and `finds` are for training alone and are not saved: they ask the middle layer what
    an option pays, and the last one what the wanted option pays, so that reading and comparing
    numbers is learnt early.
    """

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.num_hidden_layers))
        self.norm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.reads = nn.Linear(shape.hidden_size, 2)
        self.finds = nn.Linear(shape.hidden_size, 2)
        size = shape.hidden_size // shape.num_attention_heads
        turn = shape.rope_theta ** (-torch.arange(0, size, 2).float() / size)
        angles = torch.outer(torch.arange(shape.max_position_embeddings).float(), turn)
        angles = torch.cat((angles, angles), dim=-1)
        self.cos: Tensor
        self.sin: Tensor
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        deep = (2 * shape.num_hidden_layers) ** -0.5
        for name, p in self.named_parameters():
            if p.dim() == 2:
                scale = 0.02 if "embed" in name else p.shape[1] ** -0.5
                last = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(p, std=scale * (deep if last else 1.0))

    def forward(self, ids: Tensor, positions: Tensor, whose: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states of the last and of the middle layer, each (B, T, hidden).

        Args:
            ids: (B, T) tokens.
            positions: (B, T), of each token in its conversation.
            whose: (B, T), which conversation of its row a token belongs to.
        """
        x = self.embed_tokens(ids)
        cos, sin = self.cos[positions][:, None], self.sin[positions][:, None]
        middle, hidden = x, walls(whose)
        for k, layer in enumerate(self.layers):
            x = layer(x, cos, sin, hidden)
            if k + 1 == max(1, len(self.layers) // 2):
                middle = x
        return self.norm(x), middle

    def weights(self) -> dict[str, Tensor]:
        """What is saved: the parameters of the language model."""
        return {
            f"model.{name}": p.detach().cpu().contiguous()
            for name, p in self.state_dict().items()
            if not name.startswith(("reads.", "finds."))
        }
