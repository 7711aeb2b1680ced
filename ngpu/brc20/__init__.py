"""What the checkers of BRC-20 balances share: asking a source, and reading what it answers.

Bottom up: ``reply`` and ``tickers`` (what a source says, read strictly, exact), ``rate`` and ``breaker`` (when it may
be asked; pure, ``now`` is a parameter), ``source`` (one request), ``checker`` (an `IInscriptionChecker` over a source)
and ``block`` (its options). What a source's dialect is stands in its plugin.
"""
