"""A client of the HTTP API: typed answers, and tables for pandas, polars and pyarrow.

>>> from indexer_client import Client
>>> with Client("http://127.0.0.1:8080") as client:
...     found = client.search("axial T2 FLAIR of the brain", filters=["ageYears>=60"])
...     found.to_pandas()

It needs nothing of the rest of the package, and httpx alone.
"""

from indexer_client.client import Client
from indexer_client.cohorts import Cohort, News, Step
from indexer_client.counts import Facet
from indexer_client.errors import ApiProblemError, UnreachableError
from indexer_client.series import Evidence, Series, Why
from indexer_client.tables import Found

__all__ = [
    "ApiProblemError",
    "Client",
    "Cohort",
    "Evidence",
    "Facet",
    "Found",
    "News",
    "Series",
    "Step",
    "UnreachableError",
    "Why",
]
