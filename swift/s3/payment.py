"""Who pays for requests (spec s3.md 29): kept and told as AWS does it; nobody is charged anything.

With a bucket whose requesters pay, who does not sign has nobody to pay. Never here: bills.
"""

from __future__ import annotations

from swift.s3 import bucket_documents
from swift.s3.answers import Answer, empty, xml_answer
from swift.s3.errors import S3Error
from swift.s3.request import S3Request
from swift.s3.xml import Node, Text, document, element, one, read

NAME = "Request-Payment"
PAYER = "HTTP_X_AMZ_REQUEST_PAYER"
CHARGED = ("x-amz-request-charged", "requester")
_REQUESTER, _OWNER = "Requester", "BucketOwner"
_SCHEMA = Node({"Payer": one(Text(f"{_REQUESTER}|{_OWNER}"))})
_MOST_BYTES = 65_536


def get(request: S3Request) -> Answer:
    """GetBucketRequestPayment."""
    found = bucket_documents.current(request, NAME) or {"Payer": _OWNER}
    return xml_answer(document("RequestPaymentConfiguration", element("Payer", found["Payer"])))


def put(request: S3Request) -> Answer:
    """PutBucketRequestPayment."""
    found = read(request.document_body(_MOST_BYTES), "RequestPaymentConfiguration", _SCHEMA)
    if found["Payer"] == _OWNER:
        bucket_documents.remove(request, NAME)
    else:
        bucket_documents.store(request, NAME, found)
    return empty(200)


def _requester_pays(request: S3Request) -> bool:
    if request.bucket is None or request.account is None:
        return False
    return (bucket_documents.load(request, NAME) or {}).get("Payer") == _REQUESTER


def check(request: S3Request) -> None:
    """Raises S3Error for a request that nobody signs, about a bucket whose requesters pay."""
    if request.credential is None and _requester_pays(request):
        raise S3Error("AccessDenied", reason="nobody_pays")


def with_charge(request: S3Request, answer: Answer) -> Answer:
    """The answer to a request that says it will pay."""
    if PAYER not in request.environ or request.credential is None or not request.is_known:
        return answer
    try:
        is_charged = _requester_pays(request)
    except S3Error:
        return answer  # what it is an answer to has been done
    return answer._replace(headers=[*answer.headers, CHARGED]) if is_charged else answer
