"""The rewrites of :class:`.canonicalise.Canonicalise`, one a file, which share one walk."""
