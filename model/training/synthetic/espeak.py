"""A program: speaks one text with libespeak-ng and says when each phoneme begins.

    python espeak.py LIBRARY VOICE WORDS_PER_MINUTE PITCH TEXT

Writes one line of JSON, {"rate_hz", "phonemes": [[sample, IPA], …]}, then the samples, int16 little-endian mono. It is
a program of its own, and needs nothing but Python, because the library draws random numbers: only in a fresh process
does the same text sound the same, bit for bit. Figures and structures: espeak-ng/speak_lib.h, 1.51.
"""

import ctypes
import json
import sys

_SYNCHRONOUS = 2
_PHONEME_EVENTS, _IN_IPA, _DO_NOT_EXIT = 0x0001, 0x0002, 0x8000
_RATE, _PITCH = 1, 3
_UTF8 = 1
_LIST_END, _PHONEME = 0, 7


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class _Listener:
    """Collects what the library hands out while it speaks."""

    def __init__(self) -> None:
        self.sound = bytearray()
        self.phonemes: list[tuple[int, str]] = []

    def hear(self, wave: "ctypes._Pointer[ctypes.c_short]", count: int, events: "ctypes._Pointer[_Event]") -> int:
        """Take one run of samples and the events in it. Returns 0: go on."""
        if count > 0:
            self.sound += ctypes.string_at(wave, 2 * count)
        index = 0
        while events[index].type != _LIST_END:
            if events[index].type == _PHONEME:
                symbol = bytes(events[index].id.string).decode("utf-8", "ignore")
                self.phonemes.append((events[index].sample, symbol))
            index += 1
        return 0


def main(library: str, voice: str, words_per_minute: str, pitch: str, text: str) -> int:
    """Speak; the exit status is 0, or 1 when the library does not know the voice."""
    espeak = ctypes.CDLL(library)
    listener = _Listener()
    callback = _Callback(listener.hear)
    rate_hz = espeak.espeak_Initialize(_SYNCHRONOUS, 0, None, _PHONEME_EVENTS | _IN_IPA | _DO_NOT_EXIT)
    espeak.espeak_SetSynthCallback(callback)
    if rate_hz <= 0 or espeak.espeak_SetVoiceByName(voice.encode()) != 0:
        return 1
    espeak.espeak_SetParameter(_RATE, int(words_per_minute), 0)
    espeak.espeak_SetParameter(_PITCH, int(pitch), 0)
    content = text.encode() + b"\0"
    espeak.espeak_Synth(content, ctypes.c_size_t(len(content)), 0, 1, 0, _UTF8, None, None)
    espeak.espeak_Synchronize()
    header = json.dumps({"rate_hz": rate_hz, "phonemes": listener.phonemes})
    sys.stdout.buffer.write(header.encode() + b"\n" + listener.sound)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
