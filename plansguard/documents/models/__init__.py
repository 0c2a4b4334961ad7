"""pydantic models of all documents: types, units and axis orders, without input, output or judgement.

Which keys must be present depends on the use of a document and is left to the rules, so nearly every field may be
absent. Keys that nnU-Net does not know are kept.
"""
