"""How models are served: one backend per file, and the journal around them."""
