"""What several passes ask of a graph: steps, planes, accumulators, atoms, borders."""
