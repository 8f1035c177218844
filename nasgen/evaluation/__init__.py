"""From a genotype to a measured trial. Importing this package loads no torch."""
