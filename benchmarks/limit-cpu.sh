# shellcheck shell=sh
# Put the containers of a host into a control group, of either version, which gets a part of a processor. Run as root.
# sh limit-cpu.sh NAME QUOTA
#   NAME     the control group
#   QUOTA    microseconds of a processor in each 100,000
# Print nothing.
set -e
name=$1 quota=$2
if [ -d /sys/fs/cgroup/cpu ]; then
  mkdir -p "/sys/fs/cgroup/cpu/$name"
  echo 100000 >"/sys/fs/cgroup/cpu/$name/cpu.cfs_period_us"
  echo "$quota" >"/sys/fs/cgroup/cpu/$name/cpu.cfs_quota_us"
else
  mkdir -p "/sys/fs/cgroup/$name"
  echo +cpu >/sys/fs/cgroup/cgroup.subtree_control
  echo "$quota 100000" >"/sys/fs/cgroup/$name/cpu.max"
fi
echo "{\"cgroup-parent\": \"/$name\"}" >/etc/docker/daemon.json
service docker restart >/dev/null
