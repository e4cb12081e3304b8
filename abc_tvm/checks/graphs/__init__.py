"""Both graphs, as the second opinion reads them: it shares no code with the passes."""
