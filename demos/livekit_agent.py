"""A voice agent in a LiveKit room: it hears and speaks through a dsm-serve, and a language model of
any OpenAI-compatible server answers.

pip install livekit-agents livekit-plugins-openai
dsm-serve                                     # in another terminal
python demos/livekit_agent.py console         # this machine's microphone; `dev` for a room
"""

import os
import sys

if __name__ == "__main__" and {"-h", "--help"} & set(sys.argv[1:2]):
    sys.exit(print(__doc__))
try:
    from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli
    from livekit.plugins import openai
except ImportError as error:
    sys.exit(f"error: {error} (pip install livekit-agents livekit-plugins-openai)")

SPEECH = os.environ.get("DSM_SERVER", "http://127.0.0.1:8080") + "/v1"
KEY = os.environ.get("DSM_API_KEY", "any")  # the plugin wants one, whether the server does or not
LLM = os.environ.get("LLM_SERVER", "http://127.0.0.1:11434/v1")  # Ollama
LLM_MODEL = os.environ.get("LLM_MODEL", "llama3.2")

server = AgentServer()


def new_session(**options) -> AgentSession:
    """The model itself says when a turn is over: no VAD and no turn detector are needed."""
    return AgentSession(
        stt=openai.STT(
            use_realtime=True,
            turn_detection={"type": "server_vad", "silence_duration_ms": 1000},
            base_url=SPEECH,
            api_key=KEY,
        ),
        tts=openai.TTS(model="tts-1", response_format="pcm", base_url=SPEECH, api_key=KEY),
        turn_handling={"turn_detection": "stt"},
        vad=None,
        **options,
    )


@server.rtc_session()
async def talk(job: JobContext) -> None:
    llm = openai.LLM(model=LLM_MODEL, base_url=LLM, api_key="any")
    agent = Agent(instructions="You answer in one or two short sentences, to be spoken aloud.")
    await new_session(llm=llm).start(agent, room=job.room)


if __name__ == "__main__":
    cli.run_app(server)
