"""Surrogates that judge candidates before they are trained."""
