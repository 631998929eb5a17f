"""Counter-based random numbers: a pure function of (seed, what for, which episode, counter).

No generator is stored or shared, so episode k draws the same alone, in any batch, shard or
order, whatever else draws in between. The mixer is the finaliser of SplitMix64 (Steele, Lea &
Flood 2014, OOPSLA; constants of Stafford's variant 13).
"""

from functools import cache
from hashlib import blake2b

import numpy as np
from numpy.typing import ArrayLike, NDArray

Keys = NDArray[np.uint64]
Uniforms = NDArray[np.float64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_M1, _M2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_ONE = np.uint64(1)
_S30, _S27, _S31, _S11 = (np.uint64(n) for n in (30, 27, 31, 11))


def _mix(x: Keys) -> Keys:
    """Scrambles x in place; every output bit depends on every input bit."""
    x ^= x >> _S30
    x *= _M1
    x ^= x >> _S27
    x *= _M2
    x ^= x >> _S31
    return x


@cache
def _name(word: str) -> Keys:
    digest = blake2b(word.encode(), digest_size=8).digest()
    return np.array([int.from_bytes(digest, "little")], np.uint64)


def _word(word: ArrayLike | str) -> Keys:
    if isinstance(word, str):
        return _name(word)
    return np.atleast_1d(np.asarray(word).astype(np.uint64))


def key(seed: ArrayLike, *words: ArrayLike | str) -> Keys:
    """Key of the stream that `words` name below `seed`, which is an integer or a key.

    Words are non-negative integers, arrays of them or strings (what the stream is for); they
    broadcast, and the result, uint64, has at least one axis.
    """
    keys = _word(seed)
    for word in words:
        # Odd multiplier: a word of 0 changes the key too, and (1, 2) differs from (2, 1).
        keys = _mix(keys * _M1 + (_word(word) + _ONE) * _GOLDEN)
    return keys


def uniform(keys: Keys, n: int = 1) -> Uniforms:
    """Draws 0..n-1 of each key: shape (*keys.shape, n), in [0, 1) with 53 bits."""
    counters = np.arange(1, n + 1, dtype=np.uint64) * _GOLDEN
    bits = _mix(keys[..., None] + counters)
    bits >>= _S11
    return np.multiply(bits, 2.0**-53, dtype=np.float64)


def permutation(keys: Keys, n: int, offered: NDArray[np.bool_] | None = None) -> NDArray[np.int16]:
    """A uniform permutation of 0..n-1 for each key: shape (*keys.shape, n).

    Entries that `offered`, shape (*keys.shape, n), excludes stand last, in their own order.
    """
    draws = uniform(keys, n)
    if offered is not None:
        draws = np.where(offered, draws, 1.0 + np.arange(n))
    return draws.argsort(axis=-1).astype(np.int16)
