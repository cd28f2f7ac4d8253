"""What an error of the origin means to the rules that let a stale copy stand in. Pure: a table, nothing else."""

from edgeproxy.caching.model import Failure
from edgeproxy.errors import OriginConnectTimeout, OriginError, OriginFailing, OriginMalformed, OriginTimeout, OriginTruncated


def failure_of(error: OriginError) -> Failure:
    """What the stale rules need to know of an error."""
    match error:
        case OriginTimeout() | OriginConnectTimeout():
            return Failure.TIMEOUT
        case OriginTruncated():
            return Failure.TRUNCATED
        case OriginMalformed():
            return Failure.MALFORMED
        case OriginFailing():
            return Failure.SERVER_ERROR
        case _:
            return Failure.UNREACHABLE
