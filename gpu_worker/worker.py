"""What the worker is made of, what it is told, and what it tells."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

from gpu_worker.background import Keeper
from gpu_worker.halving import Halving
from gpu_worker.health import Pulse
from gpu_worker.seeing import PixelClassifier, Sight
from gpu_worker.visibility import Shift
from indexer_core.adapters.system import SystemClock
from indexer_core.announcements import Announcer
from indexer_core.assembly import Assembly
from indexer_core.indexing import Indexer
from indexer_core.pixels.decode import DEFAULT_LIMITS
from indexer_core.pixels.recipe import MEBIBYTE, PixelLimits
from indexer_core.pixels.stack import Decode, slices_from_bytes
from indexer_core.ports import ImageEncoder, WorkQueue
from indexer_core.rejects import Rejects
from indexer_core.sources import Sources
from indexer_core.telling import Telling
from indexer_core.thumbnails import Thumbnails


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """What the loop may do.

    Parameters
    ----------
    batch
        Series per commit.
    ahead
        Batches that are fetched and seen while another one is committed; 0: one after the other.
    loaded, loaded_bytes
        Series of one batch that may be on their way or wait to be seen, and the memory that their
        slices may take; one is always on its way.
    visibility_s
        How long a message is hidden while it is worked on.
    retry_s
        A message that failed comes back after this.
    max_tries
        A message that failed this often is set aside with its reason.
    hourly_price
        Of the machine, in USD; None: its cost is not told.
    limits
        What the pixels of an object may cost.
    """

    batch: int = 32
    ahead: int = 1
    loaded: int = 64
    loaded_bytes: int = 128 * MEBIBYTE
    visibility_s: float = 600.0
    retry_s: float = 30.0
    max_tries: int = 5
    hourly_price: float | None = None
    limits: PixelLimits = DEFAULT_LIMITS


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """Everything that the loop needs.

    `errands`: short calls to stores that need not wait for one another; None: they do.
    `thumbnails`: keeps small pictures; None: there are none. `together`: how many series are seen
    at once. 1: each by itself, on the thread that loaded it, for encoders that gain nothing by
    more. `telling`: whom it tells of its work; nobody by default. `pulse`: told of every piece of
    work that ends.
    """

    ready: WorkQueue
    poison: WorkQueue
    looks: WorkQueue
    rejects: Rejects
    assembly: Assembly
    indexer: Indexer
    sources: Sources
    image_encoders: Sequence[ImageEncoder]
    announcer: Announcer
    threads: Executor
    errands: Executor | None = None
    classifier: PixelClassifier | None = None
    decode: Decode = slices_from_bytes
    upkeep: Keeper | None = None
    settings: WorkerSettings = field(default_factory=WorkerSettings)
    shift: Shift = field(default_factory=Shift)
    thumbnails: Thumbnails | None = None
    together: Halving = field(default_factory=lambda: Halving(1))
    telling: Telling = field(default_factory=lambda: Telling(clock=SystemClock()))
    pulse: Pulse = field(default_factory=Pulse)

    @property
    def sight(self) -> Sight:
        """What looks at pixels, as of the last look at the index."""
        return Sight(
            encoders=self.image_encoders,
            wanted=self.indexer.image_encoder_ids,
            classifier=self.classifier,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReport:
    """What became of one batch.

    Parameters
    ----------
    outcomes
        Message id -> ``indexed``, ``done``, ``overtaken``, ``failed``, ...
    manifest
        Number of the newest manifest that it was committed by, 0 where nothing was.
    elapsed_s
        From being received to being settled; the batch before it may have been settled meanwhile.
    seconds
        By stage (`gpu_worker.timing.STAGES`), summed over threads.
    gpu_s
        In which a model ran on a GPU.
    """

    outcomes: dict[str, str]
    manifest: int
    elapsed_s: float
    seconds: Mapping[str, float] = field(default_factory=dict)
    gpu_s: float = 0.0

    def count(self, outcome: str) -> int:
        """Messages with this outcome."""
        return sum(found == outcome for found in self.outcomes.values())

    @property
    def gpu_s_per_series(self) -> float:
        """GPU seconds per series that was indexed; 0 where none was."""
        n_indexed = self.count("indexed")
        return self.gpu_s / n_indexed if n_indexed else 0.0
