"""Where each drum stands on a percussion staff, and what it is called."""

_DRUMS: dict[int, tuple[str, str, int, str]] = {
    35: ("Acoustic bass drum", "F", 4, ""), 36: ("Bass drum", "F", 4, ""), 37: ("Side stick", "C", 5, "x"),
    38: ("Snare drum", "C", 5, ""), 39: ("Hand clap", "C", 5, "x"), 40: ("Electric snare", "C", 5, ""),
    41: ("Low floor tom", "G", 4, ""), 42: ("Closed hi-hat", "G", 5, "x"), 43: ("High floor tom", "A", 4, ""),
    44: ("Pedal hi-hat", "D", 4, "x"), 45: ("Low tom", "B", 4, ""), 46: ("Open hi-hat", "G", 5, "circle-x"),
    47: ("Low-mid tom", "D", 5, ""), 48: ("High-mid tom", "E", 5, ""), 49: ("Crash cymbal", "A", 5, "x"),
    50: ("High tom", "E", 5, ""), 51: ("Ride cymbal", "F", 5, "x"), 52: ("Chinese cymbal", "B", 5, "x"),
    53: ("Ride bell", "F", 5, "diamond"), 54: ("Tambourine", "B", 5, "x"), 55: ("Splash cymbal", "B", 5, "x"),
    56: ("Cowbell", "E", 5, "triangle"), 57: ("Crash cymbal 2", "B", 5, "x"), 59: ("Ride cymbal 2", "F", 5, "x"),
    22: ("Closed hi-hat edge", "G", 5, "x"), 26: ("Open hi-hat edge", "G", 5, "circle-x"),
    31: ("Sticks", "C", 5, "x"), 58: ("Low floor tom rim", "G", 4, "x"),
}  # fmt: skip


def drum_name(pitch: int) -> str:
    """Returns the name of the drum of a pitch 0..127."""
    return _DRUMS[pitch][0] if pitch in _DRUMS else f"Percussion {pitch}"


def display_of(pitch: int) -> tuple[str, int, str]:
    """Returns the letter and octave at which a drum stands on the staff, and its notehead ("" for a plain one)."""
    if pitch in _DRUMS:
        return _DRUMS[pitch][1:]
    return "CDEFGAB"[pitch % 7], 5, "triangle"
