"""The paper's numbers beside ours: what it prints, what each table needs, verdicts and the ledger."""

from istapp.paper.printed import *  # noqa: F403
from istapp.paper.printed import __all__ as __all__
