"""Writes each example's versions in every subgroup, made by trained translators, beside the example."""
