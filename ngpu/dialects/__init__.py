"""Workers' dialects, for the adapters that are built on them. They speak through an `ngpu.adapter.IConversation`."""
