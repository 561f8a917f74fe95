"""Texts of the app in every language, one YAML file each."""
