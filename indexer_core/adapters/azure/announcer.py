"""Announcements through an Event Grid topic, as CloudEvents."""

from collections.abc import Sequence
from typing import Any

from azure.core.credentials import TokenCredential
from azure.core.messaging import CloudEvent
from azure.eventgrid import EventGridPublisherClient

from indexer_core.adapters.azure.errors import Service, translated
from indexer_core.announcements import Announcement, to_cloud_event
from indexer_core.ports import Clock


class EventGridAnnouncer:
    """Implements `indexer_core.announcements.Announcer`.

    Parameters
    ----------
    endpoint
        Of the topic.
    """

    def __init__(self, endpoint: str, credential: TokenCredential, clock: Clock) -> None:
        self._client = EventGridPublisherClient(endpoint, credential)
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
            self._client.send(events)
