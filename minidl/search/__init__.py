"""Train many models at once: ensembles, learning rates, and a search for good settings."""

from ._halving import Candidate, SearchResult, find_settings
from ._many import fit_all
from ._rates import Rates, compare_rates

__all__ = ["Candidate", "Rates", "SearchResult", "compare_rates", "find_settings", "fit_all"]
