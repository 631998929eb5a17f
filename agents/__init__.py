"""Who plays: value theories, populations, value-assignment methods, scripted agents."""
