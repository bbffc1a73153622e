"""Whether this program may hear the microphone, as far as the system tells without asking anybody.

macOS keeps a permission for each app, and a program in a terminal has the terminal's: without it a
microphone gives only zeros. Linux keeps sound devices as files.
"""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path

_AVFOUNDATION = "/System/Library/Frameworks/AVFoundation.framework/AVFoundation"
# AVAuthorizationStatus, in Apple's order
_STATUS = [
    "not asked yet: macOS asks when the microphone is first opened",
    "forbidden by this Mac's administrator",
    "denied: System Settings, Privacy & Security, Microphone",
    "granted",
]
_DEVICES = Path("/dev/snd")


def microphone_permission() -> str | None:
    """What the system says in words, beginning with "granted", "denied", "not asked" or
    "forbidden"; None where it cannot be known."""
    if sys.platform == "darwin":
        with suppress(OSError, AttributeError, ValueError, IndexError):
            return _STATUS[_authorization_status()]
        return None
    captures = sorted(_DEVICES.glob("pcm*c"))  # ALSA's name for what records
    if not captures:
        return None
    if any(os.access(path, os.R_OK | os.W_OK) for path in captures):
        return "granted"
    return f"denied: {_DEVICES} cannot be opened (is this user in the group audio?)"


def _authorization_status() -> int:
    """[AVCaptureDevice authorizationStatusForMediaType: AVMediaTypeAudio], which asks nobody."""
    framework = ctypes.CDLL(_AVFOUNDATION)
    objc = ctypes.CDLL("/usr/lib/libobjc.A.dylib")
    for function in (objc.objc_getClass, objc.sel_registerName):
        function.restype, function.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
    objc.objc_msgSend.restype = ctypes.c_long
    objc.objc_msgSend.argtypes = [ctypes.c_void_p] * 3
    sound = ctypes.c_void_p.in_dll(framework, "AVMediaTypeAudio")
    asked = objc.sel_registerName(b"authorizationStatusForMediaType:")
    return objc.objc_msgSend(objc.objc_getClass(b"AVCaptureDevice"), asked, sound)
