"""What a service writes down: the library's own messages, progress, and figures every so often."""

import logging
import sys
import threading

from dsm_mlx import load_stt

logging.basicConfig(format="%(levelname)s %(name)s %(message)s", stream=sys.stdout)
log = logging.getLogger("service")
log.setLevel(logging.INFO)
loaded: set[str] = set()


def progress(fraction: float, what: str) -> None:
    if what not in loaded:
        loaded.add(what)
        log.info("%3.0f%% %s", 100 * fraction, what)


def figures(stt, over: threading.Event) -> None:
    while not over.wait(0.05):
        stats = stt.stats()
        log.info("%(rows_in_use)d of %(rows)d rows, %(frames_waiting)d frames wait", stats)


with load_stt(progress=progress) as stt:
    log.info("%s: %.1f million parameters", stt.info.name, stt.info.parameters / 1e6)
    over = threading.Event()
    watching = threading.Thread(target=figures, args=(stt, over))
    watching.start()
    seconds = 0.0
    for part in stt.transcribe_events(sys.argv[1:]):
        seconds += part.seconds
        if part.error:
            log.error("%s", part.error)
    over.set()
    watching.join()
    log.info("%.1f s heard in %d steps", seconds, stt.stats()["steps"])
