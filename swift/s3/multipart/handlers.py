"""The handlers of multipart uploads, for the table of operations, and what is done with a bucket's uploads at its end."""

from swift.s3.multipart.complete import complete
from swift.s3.multipart.copies import put_object
from swift.s3.multipart.create import create
from swift.s3.multipart.part_listing import list_parts
from swift.s3.multipart.parts import upload_part
from swift.s3.multipart.remove import abort, clean_up
from swift.s3.multipart.uploads import list_uploads

__all__ = [
    "abort",
    "clean_up",
    "complete",
    "create",
    "list_parts",
    "list_uploads",
    "put_object",
    "upload_part",
]
