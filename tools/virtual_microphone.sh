#!/bin/sh
# A microphone and a loudspeaker without hardware, for tests on Linux: what is played into the
# PulseAudio sink "virtual" is what the default microphone hears.
#
#   eval "$(tools/virtual_microphone.sh start)"     sets the variables that programs need
#   paplay speech.wav                               speaks into the microphone
#   tools/virtual_microphone.sh stop
#
# Needs the packages pulseaudio, pulseaudio-utils, libasound2-plugins and libportaudio2. Nothing
# outside a temporary folder is written, and a PulseAudio that already runs is not touched.
set -eu

start() {
    for program in pulseaudio pactl; do
        command -v "$program" >/dev/null || {
            echo "virtual_microphone: $program is missing; apt install pulseaudio" \
                "pulseaudio-utils libasound2-plugins libportaudio2" >&2
            exit 1
        }
    done
    folder=$(mktemp -d "${TMPDIR:-/tmp}/virtual_microphone.XXXXXX")
    socket="$folder/native"
    HOME="$folder" XDG_RUNTIME_DIR="$folder" PULSE_RUNTIME_PATH="$folder" \
        pulseaudio -n --daemonize=no --use-pid-file=no --exit-idle-time=-1 --disable-shm \
        --load="module-native-protocol-unix socket=$socket auth-anonymous=1" \
        --load="module-null-sink sink_name=virtual rate=48000 channels=2" \
        --log-target="file:$folder/log" </dev/null >/dev/null 2>&1 &
    echo $! >"$folder/pid"
    tries=0
    until PULSE_SERVER="unix:$socket" pactl set-default-source virtual.monitor 2>/dev/null; do
        tries=$((tries + 1))
        if [ "$tries" -ge 100 ]; then
            echo "virtual_microphone: PulseAudio does not start:" >&2
            cat "$folder/log" >&2
            exit 1
        fi
        sleep 0.1
    done
    # An idle sink works in steps of 2 s. A listener keeps it awake; it ends with PulseAudio.
    PULSE_SERVER="unix:$socket" parec --latency-msec=20 --device=virtual.monitor \
        </dev/null >/dev/null 2>&1 &
    # PortAudio on Debian knows ALSA only: show it PulseAudio as the one device
    cat >"$folder/asound.conf" <<END
pcm.!default { type pulse hint.description "Virtual microphone and loudspeaker" }
ctl.!default { type pulse }
END
    echo "export DSM_MLX_VIRTUAL_MICROPHONE='$folder'"
    echo "export PULSE_SERVER='unix:$socket'"
    echo "export ALSA_CONFIG_PATH='$folder/asound.conf'"
}

stop() {
    folder=${DSM_MLX_VIRTUAL_MICROPHONE:?is not set: nothing was started here}
    kill "$(cat "$folder/pid")" 2>/dev/null || true
    rm -rf "$folder"
}

case "${1:-}" in
start | stop) "$1" ;;
*)
    echo "usage: eval \"\$($0 start)\"; $0 stop" >&2
    exit 2
    ;;
esac
