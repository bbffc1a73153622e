"""Send a recording through the codec and back, frame by frame as in a call.

python demos/codec.py demos/audio/bus.wav out.wav
"""

import sys

import numpy as np

import dsm_mlx
from dsm_mlx.audio import SoundWriter, read

if {"-h", "--help"} & set(sys.argv):
    sys.exit(print(__doc__))
if len(sys.argv) != 3:
    print(__doc__, file=sys.stderr)
    sys.exit(2)
source, target = sys.argv[1:]
try:
    codec = dsm_mlx.load_codec()
    encode, decode = codec.encoder(), codec.decoder()

    pcm = read(source, target=codec.sample_rate)
    pcm = np.pad(pcm, (0, -pcm.size % codec.frame_size))
    values = 0
    with SoundWriter(target, codec.sample_rate) as out:
        for frame in np.split(pcm, pcm.size // codec.frame_size):
            codes = encode(frame[None, None])  # (1, codebooks, 1): all that would travel
            out.write(decode(codes)[0, 0])
            values += codes.size
except (dsm_mlx.AudioError, ValueError) as error:
    sys.exit(f"error: {error}")
except KeyboardInterrupt:
    sys.exit(130)
bits = values * np.log2(codec.bins)
print(f"{bits / (pcm.size / codec.sample_rate):.0f} bits a second")
