"""Talk with a program that says what it has heard; put a language model in its place.

python demos/chat.py [--headphones]
"""

import sys

from dsm_mlx import AudioError, load_stt, load_tts
from dsm_mlx.audio import Microphone, Speaker
from dsm_mlx.chat import Conversation, Said, TurnEnded


def reply(messages):
    yield f"You said: {messages[-1]['content']}."


if {"-h", "--help"} & set(sys.argv):
    sys.exit(print(__doc__))
headphones = "--headphones" in sys.argv  # with them you may interrupt it
try:
    with Microphone() as microphone, Speaker() as speaker, load_stt() as stt, load_tts() as tts:
        devices = {"source": microphone, "sink": speaker}
        with Conversation(stt, tts, reply, full_duplex=headphones, **devices) as talk:
            for event in talk:
                if isinstance(event, TurnEnded):
                    print(f"you: {event.text}")
                elif isinstance(event, Said):
                    print(f"it: {event.text}")
except AudioError as error:  # no microphone, or no loudspeaker
    sys.exit(f"error: {error}")
except KeyboardInterrupt:
    pass
