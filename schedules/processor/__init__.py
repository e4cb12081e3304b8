"""What families of processors share: loop nests, tiles of registers, and the search space."""
