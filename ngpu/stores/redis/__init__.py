"""The shared task store: a Redis, or whatever speaks its protocol and Lua.

`address` and `endpoint` say where it is, `wire` is a connection, `link` keeps one up, and `greeting` sees that what is
there may be trusted with tasks. `asking` asks until there is an answer, `desk` sees that each write is made once, and
`lease` that one gateway makes them. Scripts stand in `adding`, `writes`, `again`, `outbox`, `pacing`
and `reads`, what those that change tasks share in `steps`; `store` is what the rest of ngpu sees.
"""

from ngpu.stores.redis.address import Address, address_of
from ngpu.stores.redis.endpoint import trusted
from ngpu.stores.redis.options import RedisOptions
from ngpu.stores.redis.store import RedisTaskStore

__all__ = ["Address", "RedisOptions", "RedisTaskStore", "address_of", "trusted"]
