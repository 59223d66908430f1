"""Where telemetry is sent, by settings; needs no package of those that send it."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from urllib.parse import urlsplit

from indexer_core.errors import InvalidInputError

log = logging.getLogger(__name__)

CONNECTION = "APPLICATIONINSIGHTS_CONNECTION_STRING"
IDENTITY = "APPLICATIONINSIGHTS_AUTHENTICATION_STRING"
OTLP = "OTEL_EXPORTER_OTLP_ENDPOINT"
SHARE = "INDEXER_TRACE_SHARE"


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetrySettings:
    """Where telemetry is sent; nowhere by default.

    Parameters
    ----------
    connection_string
        Of Application Insights; "" for none.
    by_identity
        Whether it is asked by a token of a managed identity, as it is where keys are refused.
    client_id
        Of that identity; None: the one that the machine has.
    otlp_endpoint
        Address of a receiver of OTLP over HTTP; "" for none.
    share
        Of the series, whose traces are sent; all that happens to a series is in, or out.
    """

    connection_string: str = ""
    by_identity: bool = False
    client_id: str | None = None
    otlp_endpoint: str = ""
    share: float = 1.0

    @property
    def is_on(self) -> bool:
        """Whether anything is sent."""
        return bool(self.connection_string or self.otlp_endpoint)


def read_telemetry(environment: Mapping[str, str]) -> TelemetrySettings:
    """Settings from the environment.

    Raises
    ------
    InvalidInputError
        A value cannot be used; the message names its variable, and never repeats it.
    """
    by_identity, client_id = _identity(environment.get(IDENTITY, ""))
    return TelemetrySettings(
        connection_string=environment.get(CONNECTION, ""),
        by_identity=by_identity,
        client_id=client_id,
        otlp_endpoint=_address(environment.get(OTLP, "")),
        share=_share(environment.get(SHARE, "")),
    )


def telemetry_if_usable(environment: Mapping[str, str]) -> TelemetrySettings:
    """As `read_telemetry`, for programs that work on: what cannot be used is one line of the log.

    Nothing is sent then, not even to a second place that could be used.
    """
    try:
        return read_telemetry(environment)
    except InvalidInputError as error:
        log.error("telemetry is not sent: %s", error)  # noqa: TRY400 - a name, never a value
        return TelemetrySettings()


def read_hourly_price(environment: Mapping[str, str], name: str) -> float | None:
    """What an hour of the machine costs, in USD; None where it is not said.

    Raises
    ------
    InvalidInputError
        It is no positive number.
    """
    text = environment.get(name, "")
    if not text:
        return None
    price = _number(text)
    if not price > 0:
        raise InvalidInputError(f"{name} is a positive number of USD")
    return price


def _identity(text: str) -> tuple[bool, str | None]:
    """Read ``ClientId=ID;Authorization=AAD``, in any order; the id may be missing."""
    if not text:
        return False, None
    parts = [part.partition("=") for part in text.split(";") if part]
    values = {name.strip().lower(): value.strip() for name, _, value in parts}
    if values.get("authorization") != "AAD" or not values.keys() <= {"authorization", "clientid"}:
        raise InvalidInputError(f"{IDENTITY} is ClientId=...;Authorization=AAD")
    return True, values.get("clientid") or None


def _address(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        is_usable = False
    if text and not is_usable:
        raise InvalidInputError(f"{OTLP} is the http(s) address of a receiver")
    return text.rstrip("/")


def _share(text: str) -> float:
    share = _number(text) if text else 1.0
    if not 0 <= share <= 1:
        raise InvalidInputError(f"{SHARE} is a number from 0 to 1")
    return share


def _number(text: str) -> float:
    """The number, or a negative one where there is none."""
    try:
        value = float(text)
    except ValueError:
        return -1.0
    return value if isfinite(value) else -1.0
