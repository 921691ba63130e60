#!/bin/sh
# Sets avsync up in the folder .venv beside this file, with the versions of constraints.txt.
# Needs Python 3.11 or newer with pip; no root, no ffmpeg, no desktop libraries. Safe to run again.
#   sh install.sh        to use it
#   sh install.sh dev    to work on it: as it lies here, with the tools that the tests need
set -eu
cd "$(dirname "$0")"
python=${PYTHON:-python3}

case "${1:-}" in
"") set -- . ; next="avsync demo" ;;
dev) set -- --editable '.[dev]' ; next=pytest ;;
*) echo "usage: [PYTHON=python3.11] sh install.sh [dev]" >&2 && exit 2 ;;
esac

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "avsync needs Python 3.11 or newer; name one: PYTHON=/path/to/python3.11 sh install.sh" >&2
    exit 1
fi

install() {
    .venv/bin/python -m pip install --quiet --quiet --disable-pip-version-check --constraint constraints.txt "$@"
}

# Debian keeps what `venv` needs to bring pip along in a package of its own, so this machine's pip does it.
if [ ! -x .venv/bin/pip ]; then
    echo "Making .venv with $("$python" --version) ..."
    "$python" -m venv --without-pip .venv
    "$python" -m pip --python .venv/bin/python install --quiet --quiet --disable-pip-version-check \
        --constraint constraints.txt pip
fi

echo "Installing avsync and what it needs into .venv (PyTorch is large: this can take some minutes) ..."
rm -rf build/lib build/bdist.*    # what an older version left there would be installed, too
install "$@"
rm -rf build/lib build/bdist.* avsync.egg-info

# opencv-python links to desktop libraries (libGL, libxcb, glib) that a bare server lacks. Two packages that
# avsync needs ask for it by name, so the build without windows is laid over it, file by file.
if ! .venv/bin/python -c 'import cv2' 2>/dev/null; then
    echo "This machine has no desktop libraries: taking the build of OpenCV that does without ..."
    install --no-deps --force-reinstall opencv-python-headless
fi

echo "$(.venv/bin/avsync --version) is ready. Try it:"
echo
echo "    .venv/bin/$next"
