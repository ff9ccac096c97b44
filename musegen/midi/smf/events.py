"""The numbers of MIDI: kinds of channel messages (the high half of a status byte) and types of meta events."""

NOTE_OFF, NOTE_ON, KEY_PRESSURE, CONTROL, PROGRAM, PRESSURE, PITCH_BEND = range(0x8, 0xF)
NAME, LAST_TEXT, PORT, END, TEMPO, METER, KEY = 0x03, 0x09, 0x21, 0x2F, 0x51, 0x58, 0x59
