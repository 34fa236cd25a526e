#!/bin/sh
# Packages of the system that some tests need, by their names in Debian (test-packages.txt): a real keychain, programs that
# keep secrets. Installed where that can be done without a question; elsewhere those tests say what they miss, and skip.
list=$(dirname "$0")/test-packages.txt
missing=
while read -r package; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$' || missing="$missing $package"
done < "$list"
[ -n "$missing" ] || exit 0

install() {
  # shellcheck disable=SC2086 # a list of words
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1
}
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
  install || { apt-get update -qq >/dev/null 2>&1 && install; } && exit 0
fi
echo "note: not installed here, so some tests will be skipped:$missing" >&2
exit 0
