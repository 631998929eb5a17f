"""What is known of an instrument beyond its items: a file each, named as the instrument."""
