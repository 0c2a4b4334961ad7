"""Figures: the numbers that a report shows as pictures, computed from what was judged. Nothing is drawn here."""
