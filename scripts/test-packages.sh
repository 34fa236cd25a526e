#!/bin/sh
# Programs of the system that some tests need: a real keychain. Installed where that can be done without a question;
# elsewhere those tests say what they miss, and skip.
packages='dbus gnome-keyring'

missing=
for tool in dbus-daemon dbus-send gnome-keyring-daemon; do
  command -v "$tool" >/dev/null || missing="$missing $tool"
done
[ -n "$missing" ] || exit 0

install() {
  # shellcheck disable=SC2086 # a list of words
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null 2>&1
}
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
  install || { apt-get update -qq >/dev/null 2>&1 && install; } && exit 0
fi
echo "note: not installed here, so some tests will be skipped:$missing (packages $packages)" >&2
exit 0
