"""Puts the patched images that Goel et al. have published beside the records that they were made from."""
