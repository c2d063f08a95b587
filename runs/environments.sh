#!/usr/bin/env bash
# Makes one environment after the other, from Python 3.10 to 3.14, with the newest packages and, on 3.10, with the oldest
# that setup.py allows; installs the wheel, restores, trains two iterations, runs the quick tests; prints a table (docs/install.md).
#
#     bash runs/environments.sh [FOLDER [ROW...]]     ROW: 3.12, 3.10-oldest, ...; PYTHON_3_14=/path/to/python3.14
#
# A Python that uv does not find is a row 'not tried'. Each environment is deleted after its row: torch takes 6 GB.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
folder="$(realpath -m "${1:-../environments}")"
shift || true
rows=("$@")
(( ${#rows[@]} )) || rows=(3.10-oldest 3.10 3.11 3.12 3.13 3.14)
quick=(
    tests/arch/test_arch_contract.py tests/arch/test_bridge.py tests/arch/test_weights_io.py tests/data/test_images.py
    tests/data/test_lmdb.py tests/restoring/test_restore.py tests/commands/test_doctor.py tests/running/test_runner.py
    tests/bridges/test_export.py
)
tools=('pytest>=8' 'hypothesis>=6.100' 'setuptools>=77' 'spandrel>=0.4')
mkdir -p "$folder"
rm -f "$folder"/*.whl
uv build --quiet --wheel --out-dir "$folder" || exit 1
wheel="$(echo "$folder"/*.whl)"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" MMRBGAN_HOME="$folder/home"

try() {  # try NAME COMMAND...: run it with its output in a log; set $result to a word for the table
    local log="$folder/$row-$1.log" start=$SECONDS
    shift
    if "$@" >"$log" 2>&1; then result="$((SECONDS - start)) s"; else result="FAILED, see $(basename "$log")"; failed=1; fi
}

floors() {  # what the wheel requires, one a line, so that uv takes the least of each; of basicsr, forks carry the older ones
    unzip -p "$wheel" '*/METADATA' | sed -nE 's/^Requires-Dist: //p' | grep -vE '^basicsr|extra == "(all|baselines|scores|ui|video|wandb)"' |
        sed -E 's/ and extra == .*//; s/; extra == .*//' | sort -u
}

versions() {
    "$env/bin/python" - <<'PYTHON'
from importlib.metadata import PackageNotFoundError, version

def of(name):
    try:
        return version(name).partition('+')[0]
    except PackageNotFoundError:
        return 'none'

print(' | '.join(map(of, ('torch', 'torchvision', 'numpy', 'opencv-python', 'scipy', 'basicsr'))))
PYTHON
}

failed=0
echo '| Python | torch | torchvision | numpy | OpenCV | SciPy | basicsr | install | demo | train | quick tests |'
echo '| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |'
for row in "${rows[@]}"; do
    python="${row%-oldest}"
    chosen="PYTHON_${python/./_}"
    env="$folder/$row"
    if ! uv venv --quiet --clear --python "${!chosen:-$python}" --no-python-downloads "$env" 2>/dev/null; then
        echo "| $row | not tried: no Python $python here | | | | | | | | | |"
        continue
    fi
    oldest=()
    if [[ "$row" == *-oldest ]]; then
        mapfile -t oldest < <(floors)
        oldest=(--resolution lowest-direct "${oldest[@]}")
    fi
    try install uv pip install --python "$env" "${oldest[@]}" "mmrbgan[train,lpips,export,heic] @ file://$wheel" "${tools[@]}"
    installed="$result"
    work="$folder/$row-work"
    rm -rf "$work" && mkdir -p "$work"
    try demo env --chdir="$work" "$env/bin/mmrbgan" restore --demo
    demo="$result"
    trained='none: no basicsr'
    if "$env/bin/python" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("basicsr") is None)'; then
        try train env --chdir="$work" "$env/bin/basicsr" train -opt train_mmrbgan_quick --force_yml train:total_iter=2
        trained="$result"
    fi
    cp -r tests setup.py pyproject.toml options docs benchmarks README.md "$work"  # the tests, without the checkout's packages
    try tests env --chdir="$work" "$env/bin/python" -m pytest -p no:cacheprovider "${quick[@]}"
    summary="$(tail -1 "$folder/$row-tests.log" | tr -d '=' | xargs)"
    echo "| $row | $(versions) | $installed | $demo | $trained | ${summary:-$result} |"
    rm -rf "$env" "$work"
done
exit "$failed"
