"""The command line: one thin file a command group, which parses, calls one verb of the API and prints."""
