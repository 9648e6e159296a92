"""The body of POST /v1/trades/query, read without a second copy of it."""

from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from k2.api.envelope import UnsupportedMediaTypeError
from k2.api.parameters import BulkRequest

_JSON = "application/json"
BULK_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        _JSON: {
            "schema": {"$ref": "#/components/schemas/BulkRequest"},
            "example": {"queries": [{"symbol": "BTCUSDT", "exchange": "BINANCE", "limit": 10}]},
        }
    },
}


async def read_bulk_request(request: Request) -> BulkRequest:
    """The validated body.

    Raises:
        UnsupportedMediaTypeError: it is not sent as JSON.
        RequestValidationError: it is not JSON, or not a bulk request.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != _JSON:
        raise UnsupportedMediaTypeError(f"send the body as {_JSON}")
    try:
        return BulkRequest.model_validate_json(await _whole(request))
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in found]) from error


async def _whole(request: Request) -> bytes:
    pieces = [piece async for piece in request.stream() if piece]
    # The layer that bounds bodies hands each over in one piece, which is parsed where it lies.
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
