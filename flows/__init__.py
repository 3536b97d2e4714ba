"""The Bytewax shell around flows.logic: sources, stages, sinks."""
