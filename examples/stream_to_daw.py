"""Stream endless music to a DAW, and change it while it plays.

Run it, choose the MIDI input "musegen" in the DAW, and press play there: the music begins on the next bar line, takes
the DAW's tempo, and stops with it. Every 16 bars the composer changes. Ctrl-C ends it.

With a name that ends in .mid it writes a file instead, in its own time: `python examples/stream_to_daw.py out.mid 8`.
"""

import sys

from musegen.live.opening import Setup
from musegen.live.stream import Stream
from musegen.live.streaming import stream

COMPOSERS = ["bach", "mozart", "chopin"]
BARS_EACH = 16


def main() -> None:
    to_file = len(sys.argv) > 1
    setup = Setup(port=sys.argv[1]) if to_file else Setup(virtual="musegen", follow="clock")
    bars = int(sys.argv[2]) if len(sys.argv) > 2 else None
    playing = {"composer": COMPOSERS[0]}

    def look(music: Stream) -> None:
        wanted = COMPOSERS[music.n_played // BARS_EACH % len(COMPOSERS)]
        if wanted != playing["composer"]:
            playing["composer"] = wanted
            music.change(composer=wanted)
            print("now in the style of", wanted, flush=True)

    report = stream(setup, bars=bars, composer=COMPOSERS[0], instruments=["piano"], seed=1, on_look=look)
    print(f"{report.n_notes} notes, {report.late_p99_ms:.1f} ms late at most in 99 of 100, {report.n_dropped} dropped")


if __name__ == "__main__":
    main()
