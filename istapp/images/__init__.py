"""Images: how they are read, the registered sets, their downloads and their packs."""
