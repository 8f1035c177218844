"""Presets: TOML files in this folder, one a paper or a purpose."""
