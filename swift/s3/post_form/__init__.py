"""POST object: files that a browser sends with a form, whose policy says what it may send (spec s3.md 24).

`fields` reads the form up to its file, `policy_document` holds it against its policy, `upload` makes a PUT of it and its answer.
"""

from swift.s3.post_form.upload import Upload, is_form, received

__all__ = ["Upload", "is_form", "received"]
