"""Services for Pipecat: speech to text and text to speech in the pipeline's own process."""

from __future__ import annotations

try:
    from pipecat.services.ai_service import AIService as _  # noqa: F401
except ImportError as error:
    raise ImportError(
        "dsm_mlx.pipecat needs the package pipecat-ai, which is for Python 3.11 and later "
        f"(pip install 'dsm-mlx[pipecat]'): {error}"
    ) from error

from dsm_mlx.pipecat.stt import DsmSTTService
from dsm_mlx.pipecat.tts import DsmTTSService

__all__ = ["DsmSTTService", "DsmTTSService"]
