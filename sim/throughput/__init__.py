"""How fast it is, beside what one would run instead: `python -m sim.throughput`.

`scripted` measures games, faces and the whole stack without a language model; `models` the
presets of `conf/model`, each beside its own engine (`engines`) given the same prompts (`measure`).
"""
