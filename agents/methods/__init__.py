"""Ways to assign a value, one file each."""
