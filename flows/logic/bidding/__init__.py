"""Bidding in the dataflow: controllers' state, operators' commands, periodic optimisation."""
