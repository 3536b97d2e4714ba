"""The contract between Penstock's parts: events, campaigns, KPI windows, decisions, live frames, log and topics.

Pure: nothing here reads a file, a socket, a clock or chance.
"""
