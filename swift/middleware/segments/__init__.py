"""Objects that are made of other objects: bodies that are read one segment after the other, and the answers with such bodies.

What a manifest looks like, and which segments follow from it, is its filter's business (`slo`, `dlo`).
"""
