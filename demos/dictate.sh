#!/bin/sh
# Dictation with one key: bind it to this script. Pressed once it listens; pressed again it stops,
# and what was said is typed where the cursor is.
#
#   dictate.sh [what dsm-stt takes, such as --model stt-1b or --server http://127.0.0.1:8080]
#
# On X11 it needs xdotool, on Wayland wtype; on macOS pbcopy and osascript, which are there, and
# the permission to control the computer (Privacy & Security > Accessibility) for whatever has the
# key. DSM_STT is the command, where it is not in the path of whatever has the key.
set -eu

folder=${XDG_RUNTIME_DIR:-${TMPDIR:-/tmp}}/dsm-dictate-$(id -u)
(umask 077 && mkdir -p "$folder")

if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
    exit
fi

tell() { # a notification, where there is what shows one, else a line
    if command -v notify-send >/dev/null; then
        notify-send -t 1500 Dictation "$1" || true
    elif command -v osascript >/dev/null; then
        osascript -e 'on run {text}' -e 'display notification text with title "Dictation"' \
            -e 'end run' "$1" || true
    else
        echo "$1" >&2
    fi
}

insert() { # the text in a file, where the cursor is
    if command -v osascript >/dev/null; then
        LC_CTYPE=UTF-8 pbcopy <"$1"
        osascript -e 'tell application "System Events" to keystroke "v" using command down'
    elif [ -n "${WAYLAND_DISPLAY:-}" ]; then
        wtype - <"$1"
    else
        xdotool type --clearmodifiers --delay 2 --file "$1"
    fi
}

listen() {
    rm -f "$folder/pid" "$folder/done" "$folder/stopped"
    (
        [ -t 2 ] || exec 2>/dev/null # whoever has the key waits for nobody who could still write
        "${DSM_STT:-dsm-stt}" --mic "$@" </dev/null >"$folder/words" 2>"$folder/log" &
        echo $! >"$folder/pid.new"
        mv "$folder/pid.new" "$folder/pid"
        wait $! || [ -e "$folder/stopped" ] || tell "Not listening: $(tail -n 1 "$folder/log")"
        touch "$folder/done"
    ) </dev/null >/dev/null &
    until [ -e "$folder/pid" ]; do sleep 0.02; done
    tell "Listening"
}

stop() { # after which the words that are still on their way come out
    touch "$folder/stopped"
    kill -TERM "$(cat "$folder/pid")" 2>/dev/null || touch "$folder/done"
    until [ -e "$folder/done" ]; do sleep 0.05; done
    tr -d '\n' <"$folder/words" >"$folder/text"
    if [ -s "$folder/text" ]; then
        insert "$folder/text"
    else
        tell "Nothing was heard: $(tail -n 1 "$folder/log")"
    fi
}

if [ -e "$folder/pid" ] && [ ! -e "$folder/done" ]; then
    stop
else
    listen "$@"
fi
