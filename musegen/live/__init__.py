"""Playing along: MIDI ports, the transport clock, the scheduler, and the bridge that answers a DAW."""
