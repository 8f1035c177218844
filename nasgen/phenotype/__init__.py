"""From genotypes to torch modules: building, heredity. Importing this package loads no torch."""
