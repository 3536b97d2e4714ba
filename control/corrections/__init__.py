"""Corrections as people give them: checked line by line, and sent to the dataflow."""
