"""The application: plays, journals, records, analyses, draws, reports."""

from sim.tables import Tables, load

__all__ = ["Tables", "load"]
