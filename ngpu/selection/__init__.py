"""What selection policies share: an order of replicas that is kept up to date, so that a choice looks at one or two."""

from ngpu.selection.ranked import Ranked
from ngpu.selection.ranking import Ranking
from ngpu.selection.ring import Ring

__all__ = ["Ranked", "Ranking", "Ring"]
