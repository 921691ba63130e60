#!/bin/sh
# Sets avsync up in the folder .venv beside this file, with the versions of constraints.txt.
# Needs Python 3.11 or newer with pip; no root, no ffmpeg, no desktop libraries. Safe to run again.
#   sh install.sh        to use it
#   sh install.sh dev    to work on it: as it lies here, with the tools that the tests need
set -eu
cd "$(dirname "$0")"
python=${PYTHON:-python3}

case "${1:-}" in
"") set -- . ;;
dev) set -- --editable '.[dev]' ;;
*) echo "usage: [PYTHON=python3.11] sh install.sh [dev]" >&2 && exit 2 ;;
esac

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "avsync needs Python 3.11 or newer; name one: PYTHON=/path/to/python3.11 sh install.sh" >&2
    exit 1
fi

# Debian keeps what `venv` needs to bring pip along in a package of its own, so this machine's pip does it.
if [ ! -x .venv/bin/pip ]; then
    "$python" -m venv --without-pip .venv
    "$python" -m pip --python .venv/bin/python install --quiet --constraint constraints.txt pip
fi

.venv/bin/pip install --constraint constraints.txt "$@"

# opencv-python links to desktop libraries (libGL, libxcb, glib) that a bare server lacks. Two packages that
# avsync needs ask for it by name, so the build without windows is laid over it, file by file.
if ! .venv/bin/python -c 'import cv2' 2>/dev/null; then
    .venv/bin/pip install --constraint constraints.txt --no-deps --force-reinstall opencv-python-headless
fi
