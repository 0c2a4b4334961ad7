"""Preprocessed cases: headers, values, normalization, and the audit of a whole folder."""
