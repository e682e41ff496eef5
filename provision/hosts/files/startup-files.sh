# shellcheck shell=sh
# sh startup-files.sh TEXT: print the file by which this login prints TEXT although nobody sits at a terminal.
# That is the one that has TEXT in it; if none has, all that the login's shell reads are named.
text=$1
home=$(getent passwd "${LOGNAME:-$(id -un)}" | cut -d: -f6)
case $(getent passwd "${LOGNAME:-$(id -un)}" | cut -d: -f7) in
  */bash) set -- "$home/.bashrc" /etc/bash.bashrc ;;
  */zsh) set -- "${ZDOTDIR:-$home}/.zshenv" /etc/zsh/zshenv ;;
  */tcsh | */csh | */bsd-csh) set -- "$home/.tcshrc" "$home/.cshrc" /etc/csh.cshrc ;;
  */fish) set -- "$home/.config/fish/config.fish" "$home"/.config/fish/conf.d/*.fish /etc/fish/config.fish ;;
  *) set -- ;;
esac
# sshd itself runs these.
set -- "$@" "$home/.ssh/rc" /etc/ssh/sshrc
for file; do
  if [ -n "$text" ] && grep -qsF -e "$text" "$file"; then echo "$file"; exit; fi
done
found=
for file; do
  [ ! -s "$file" ] || found="${found:+$found or }$file"
done
echo "$found"
