# shellcheck shell=sh
# Install packages. Run as root. apt-get.sh comes before this text.
# sh apt-install.sh PACKAGE...
# A VM's first minutes belong to unattended-upgrades, so its lock is waited for. An install that an earlier `up` left
# halfway is completed first. A package whose program is gone is installed again. A file in /etc that was there before
# its package is kept.
install() {
  apt_get -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold \
    install -y --no-remove --reinstall --no-install-recommends "$@"
}
install "$@" || { dpkg --configure -a && install "$@"; }
