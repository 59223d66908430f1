"""What the settings of a program on Azure configure: sources and announcements."""

from indexer_core.adapters.azure.announcer import EventGridAnnouncer
from indexer_core.adapters.azure.clients import AzureStorage
from indexer_core.adapters.azure.settings import Settings
from indexer_core.adapters.azure.sources import AzureContainerSource
from indexer_core.adapters.azure.stores import ContainerListing
from indexer_core.announcements import Announcer, Nobody
from indexer_core.ports import Clock

ENCODER_PREFIX = "encoders/text/"
"""Where the worker leaves the exported text encoder, in the index container."""


def list_sources(settings: Settings) -> list[ContainerListing]:
    """The configured sources, with what lists them."""
    listings = []
    for source in settings.sources:
        container = AzureStorage(source.account).container(source.container)
        listings.append(
            ContainerListing(
                container=container,
                source=AzureContainerSource(container, scope=source.scope, prefix=source.prefix),
                name=f"{source.container}-{source.prefix}",
                prefix=source.prefix,
            )
        )
    return listings


def announcer_of(settings: Settings, clock: Clock) -> Announcer:
    """Who is told what happens."""
    if not settings.topic:
        return Nobody()
    from azure.identity import DefaultAzureCredential

    return EventGridAnnouncer(settings.topic, DefaultAzureCredential(), clock)
