"""HTTP dates (RFC 9110 section 5.6.7).

Owns: the three formats, read without regard to case as RFC 9111 section 4.2 asks of a cache, and the one that is written. Seconds
are those of the POSIX epoch. Must not know what time it is.
"""

import re
from datetime import date

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_LONG_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_NUMBERS = {name.lower(): number for number, name in enumerate(_MONTHS, 1)}

_DAY = f"(?:{'|'.join(_DAYS)})"
_LONG_DAY = f"(?:{'|'.join(_LONG_DAYS)})"
_MONTH = f"(?P<month>{'|'.join(_MONTHS)})"
_CLOCK = r"(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9]):(?P<second>[0-5][0-9]|60)"
_FORMATS = tuple(
    re.compile(pattern, re.IGNORECASE | re.ASCII)
    for pattern in (
        rf"{_DAY}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_CLOCK} GMT",
        rf"{_LONG_DAY}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_CLOCK} GMT",
        rf"{_DAY} {_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_CLOCK} (?P<year>[0-9]{{4}})",
    )
)
_EPOCH = date(1970, 1, 1).toordinal()
_DAY_SECONDS = 86_400
_LAST_SECOND = (date(9999, 12, 31).toordinal() - _EPOCH + 1) * _DAY_SECONDS - 1


def parse_http_date(text: str, *, now: int | None = None) -> int | None:
    """Seconds since the epoch, or None when `text` is no HTTP-date or names a day that does not exist.

    The day of the week must be one but need not be the right one. `now`, in seconds, decides the century of a two-digit
    year: at most 50 years ahead, else the past; without it 70 to 99 are of the 20th century.
    """
    for pattern in _FORMATS:
        match = pattern.fullmatch(text)
        if match is not None:
            break
    else:
        return None
    day, month, year = int(match["day"]), _MONTH_NUMBERS[match["month"].lower()], int(match["year"])
    if len(match["year"]) == 2:
        year = _full_year(year, now)
    try:
        days = date(year, month, day).toordinal() - _EPOCH
    except ValueError:
        return None
    return days * _DAY_SECONDS + int(match["hour"]) * 3600 + int(match["minute"]) * 60 + int(match["second"])


def _full_year(year: int, now: int | None) -> int:
    if now is None:
        return 1900 + year if year >= 70 else 2000 + year
    this_year = date.fromordinal(_EPOCH + now // _DAY_SECONDS).year
    full = this_year - this_year % 100 + year
    if full > this_year + 50:
        return full - 100
    return full + 100 if full <= this_year - 50 else full


def format_http_date(seconds: int) -> str:
    """`seconds` since the epoch as an IMF-fixdate. Raises ValueError outside the years 1970 to 9999."""
    if not 0 <= seconds <= _LAST_SECOND:
        raise ValueError(f"no HTTP date for {seconds}")
    days, rest = divmod(seconds, _DAY_SECONDS)
    day = date.fromordinal(_EPOCH + days)
    return (
        f"{_DAYS[day.weekday()]}, {day.day:02} {_MONTHS[day.month - 1]} {day.year:04} "
        f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02} GMT"
    )
