"""Announcements through an Event Grid topic, as CloudEvents."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from azure.core.credentials import TokenCredential
from azure.core.messaging import CloudEvent
from azure.eventgrid import EventGridPublisherClient

from indexer_core.adapters.azure.errors import Service, translated
from indexer_core.announcements import Announcement, to_cloud_event
from indexer_core.ports import Clock

# Given to every request: the client passes none of its own options on.
_SENDING: Mapping[str, Any] = {
    "connection_timeout": 10,
    "read_timeout": 60,
    # The message in hand comes back, and with it the announcement.
    "retry_connect": 1,
    "retry_status": 1,
    # An answer must never send us, and our token, to another host.
    "permit_redirects": False,
}


class EventGridAnnouncer:
    """Implements `indexer_core.announcements.Announcer`.

    Parameters
    ----------
    endpoint
        Of the topic.
    credential
        How to sign in; closed with the announcer where it can be.
    """

    def __init__(self, endpoint: str, credential: TokenCredential, clock: Clock) -> None:
        # It takes the options of a request for attributes of each event, and warns of them.
        logging.getLogger("azure.eventgrid").setLevel(logging.ERROR)
        self._client = EventGridPublisherClient(endpoint, credential)
        self._credential = credential
        self._clock = clock

    def announce(self, announcements: Sequence[Announcement]) -> None:
        """Publish all in one request.

        Raises
        ------
        UnavailableError, UnknownOutcomeError
            Perhaps nobody was told: the message comes back and it is announced again.
        """
        if not announcements:
            return
        events: list[CloudEvent[Any]] = [
            CloudEvent.from_dict(to_cloud_event(one, self._clock.now_s())) for one in announcements
        ]
        with translated(Service.EVENTS, writing=True):
            self._client.send(events, **_SENDING)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        close = getattr(self._credential, "close", None)
        if close is not None:
            close()
