"""What the settings of a program on Azure configure: accounts, sources and announcements."""

from indexer_core.adapters.azure.announcer import EventGridAnnouncer
from indexer_core.adapters.azure.clients import AzureStorage
from indexer_core.adapters.azure.settings import Settings, SourceSetting
from indexer_core.adapters.azure.sources import AzureContainerSource, folder_prefix
from indexer_core.adapters.azure.stores import ContainerListing
from indexer_core.announcements import Nobody
from indexer_core.ports import Clock

ENCODER_PREFIX = "encoders/text/"
"""Where the worker leaves the exported text encoder, in the index container."""


class Accounts:
    """The storage accounts that the settings name, each opened once.

    Attributes
    ----------
    index
        The one that holds the index.
    """

    def __init__(self, settings: Settings) -> None:
        names = {settings.storage, *(source.account for source in settings.sources)}
        self._opened = {name: AzureStorage(name) for name in names}
        self._settings = settings
        self.index = self._opened[settings.storage]

    def close(self) -> None:
        """Close the connections."""
        for account in self._opened.values():
            account.close()

    def listing(self, setting: SourceSetting, folder: str | None = None) -> ContainerListing:
        """A configured source and what lists it, or only a folder of its container."""
        container = self._opened[setting.account].container(setting.container)
        prefix = folder_prefix(setting.prefix if folder is None else folder)
        source = AzureContainerSource(container, scope=setting.scope, prefix=prefix)
        name = source.url_of(prefix)
        return ContainerListing(container=container, source=source, name=name, prefix=prefix)

    def listings(self) -> list[ContainerListing]:
        """The configured sources, with what lists them."""
        return [self.listing(setting) for setting in self._settings.sources]


def announcer_of(settings: Settings, clock: Clock) -> EventGridAnnouncer | Nobody:
    """Who is told what happens."""
    if not settings.topic:
        return Nobody()
    from azure.identity import DefaultAzureCredential

    return EventGridAnnouncer(settings.topic, DefaultAzureCredential(), clock)
